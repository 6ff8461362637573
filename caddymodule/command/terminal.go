package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// isTerminal tells whether a stream of a command is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// output prints a value as JSON where that is asked for, and in the form of text
// otherwise.
func output(cmd *cobra.Command, asJSON bool, v any, text func(io.Writer) error) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), v)
	}
	return text(cmd.OutOrStdout())
}

// printJSON prints a value on a line of its own.
func printJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// printRow prints a row of a table, whose cells may hold what others chose.
func printRow(table *tabwriter.Writer, cells ...string) {
	for i, cell := range cells {
		cells[i] = printable(cell)
	}
	fmt.Fprintln(table, strings.Join(cells, "\t"))
}

func printTable(w io.Writer, rows [][]string) error {
	table := newTable(w)
	for _, row := range rows {
		printRow(table, row...)
	}
	return table.Flush()
}

// printable returns text that callers and devices chose as it can be printed
// on a terminal.
func printable(text string) string {
	if text == "" {
		return "-"
	}
	for _, c := range text {
		if !strconv.IsPrint(c) || c == '\ufffd' {
			return strconv.Quote(text)
		}
	}
	return text
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
