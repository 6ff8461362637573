package texts

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

//go:embed defaults
var defaults embed.FS

const (
	layout = "layout.html" // the frame of all HTML texts

	maxFile = 64 << 10 // bytes of one template
)

// collect returns the medium's default files by name, with those of dir in
// their place.
func collect(m Medium, dir string) (map[string]string, error) {
	files := make(map[string]string)
	builtIn, err := fs.Sub(defaults, "defaults/"+string(m))
	if err != nil {
		return nil, err
	}
	if err := read(files, builtIn, m); err != nil || dir == "" {
		return files, err
	}
	return files, inFolder(dir, read(files, os.DirFS(dir), m))
}

// read adds the files of a folder. Hidden ones are left out: Kubernetes mounts
// keep their administration in such.
func read(files map[string]string, folder fs.FS, m Medium) error {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return cause(err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		if err := checkName(name, m); err != nil {
			return err
		}
		content, err := readFile(folder, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, cause(err))
		}
		files[name] = content
	}
	return nil
}

func readFile(folder fs.FS, name string) (string, error) {
	info, err := fs.Stat(folder, name) // before opening: a pipe would block
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", errors.New("it is not a regular file")
	case info.Size() > maxFile:
		return "", fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	content, err := fs.ReadFile(folder, name)
	if before, _, bad := strings.Cut(strings.ToValidUTF8(string(content), "\xff"), "\xff"); bad {
		return "", fmt.Errorf("line %d is not UTF-8: save the file in that encoding", strings.Count(before, "\n")+1)
	}
	return strings.ReplaceAll(strings.TrimPrefix(string(content), "\ufeff"), "\r\n", "\n"), err
}

// cause leaves out the name, which the error has already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// checkName refuses files that would never be used: most likely their names
// are misspelled.
func checkName(name string, m Medium) error {
	forms := "<operation>.<language>.txt"
	if m == Mail {
		forms += ", <operation>.<language>.html, key_change.<language>.txt or " + layout
	}
	parts := strings.Split(name, ".")
	switch {
	case m == Mail && name == layout:
		return nil
	case m == Mail && len(parts) == 3 && parts[0] == string(keyChange) && parts[2] == "txt":
	case len(parts) != 3, !slices.Contains(nevisfido.Operations(), nevisfido.Operation(parts[0])),
		parts[2] != "txt" && (parts[2] != "html" || m != Mail):
		return fmt.Errorf("%s: a %s has no template of this name; write %s, where the operations are %q",
			name, m, forms, nevisfido.Operations())
	}
	if tag, err := language.Parse(parts[1]); err != nil || tag.String() != parts[1] {
		return fmt.Errorf("%s: %q is not a language tag in its usual spelling, such as de or de-CH (RFC 5646)", name, parts[1])
	}
	return nil
}

// languagesOf returns the languages that a file is in.
func languagesOf(files map[string]string) []string {
	var languages []string
	for name := range files {
		if parts := strings.Split(name, "."); len(parts) == 3 {
			languages = append(languages, parts[1])
		}
	}
	slices.Sort(languages)
	return slices.Compact(languages)
}
