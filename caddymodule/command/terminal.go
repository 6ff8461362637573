package command

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// isTerminal tells whether a stream of a command is a terminal, or at least a
// device such as one.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// ask puts a question that is answered no unless by yes.
func ask(in io.Reader, out io.Writer, question string) bool {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(in).ReadString('\n') // none is no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}

// progressPause is the time between two updates of a bar.
const progressPause = 200 * time.Millisecond

const barWidth = 30

// progressBar shows on a terminal how far something has come.
type progressBar struct {
	out         io.Writer
	total       int64 // bytes; 0 where they are not known
	start, last time.Time
	first       int64 // lines that were done at the start
}

func (p *progressBar) update(lines, refused, bytes int64, now time.Time) {
	if p.start.IsZero() {
		p.start, p.first = now, lines
	}
	if now.Sub(p.last) < progressPause {
		return
	}
	p.last = now
	fmt.Fprint(p.out, "\r\x1b[K")
	if p.total > 0 {
		part := min(1, float64(bytes)/float64(p.total))
		done := int(part * barWidth)
		fmt.Fprintf(p.out, "[%s%s] %3.0f%%  ", strings.Repeat("=", done), strings.Repeat(" ", barWidth-done), 100*part)
	}
	fmt.Fprintf(p.out, "%s lines, %s refused", humanize.Comma(lines), humanize.Comma(refused))
	if elapsed := now.Sub(p.start).Seconds(); elapsed >= 1 {
		fmt.Fprintf(p.out, ", %s a second", humanize.Comma(int64(float64(lines-p.first)/elapsed)))
	}
}

// end clears the bar away.
func (p *progressBar) end() {
	if !p.start.IsZero() {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
