package watchedfile

import "log/slog"

// Read returns the content of a credential file, by the rules of Open, for
// those who do not follow its changes.
func Read(option, path string, logger *slog.Logger) ([]byte, error) {
	file, err := Open(option, path, whole, logger)
	if err != nil {
		return nil, err
	}
	return file.value, nil
}

// ReadPublic is Read for a file without a secret, such as a certificate:
// everybody may read it.
func ReadPublic(option, path string) ([]byte, error) {
	file, err := OpenPublic(option, path, whole, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return file.value, nil
}

func whole(content []byte) ([]byte, error) { return content, nil }
