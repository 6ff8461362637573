package faults

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

var update = flag.Bool("update", false, "write the generated part of docs/faults.md again")

// allFaults and allParties are in the order of the page.
var (
	allFaults = []string{
		refused, resets, halfClosed, drips, hangs, truncated, lying, endless, tooMany, tooManyRA, failing, doubtful, goAway,
		expired, wrongName, unknownCA, dnsFails, diskFull, readOnly, vanished, emfile,
	}
	allParties = []string{"caller", "nevisFIDO", "FCM", "OAuth", "SMTP", "webhook", "web push", "IPP", "Redis", "file storage", "nevisIDM"}
)

// TestPage compares docs/faults.md with the table, in which every party has each
// fault, or says why not.
func TestPage(t *testing.T) {
	var want strings.Builder
	for _, party := range allParties {
		section(t, &want, party)
	}
	testservice.WantGenerated(t, "../../docs/faults.md", "go test ./integration/faults -run Page -update", want.String(), *update)
}

func section(t *testing.T, b *strings.Builder, name string) {
	t.Helper()
	p, store := parties[name], name == "Redis" || name == "file storage"
	fmt.Fprintf(b, "\n## %s\n\n%s. Bounded by %s.\n\n", name, strings.ToUpper(p.what[:1])+p.what[1:], p.bound)
	change, line := "", ""
	if store {
		change, line = " a device that changes its target gets |", " --- |"
	}
	fmt.Fprintf(b, "| fault | the caller gets | messages | attempts | `reason` |%s\n| --- | --- | --- | --- | --- |%s\n", change, line)
	for _, fault := range allFaults {
		i := slices.IndexFunc(table, func(c cell) bool { return c.party == name && c.fault == fault })
		if i < 0 {
			if why := whyNot(name, fault); why == "" {
				t.Errorf("%s, %s: there is neither a cell nor a reason why not", name, fault)
			} else {
				fmt.Fprintf(b, "| %s | *%s* |  |  |  |%s\n", fault, why, strings.ReplaceAll(line, " --- ", "  "))
			}
			continue
		}
		c := table[i]
		if whyNot(name, fault) != "" {
			t.Errorf("%s, %s: there is a cell, and a reason why not", name, fault)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %d | %s |", fault, code(c.answer), []string{"0", "1", "possibly twice"}[c.delivered], c.attempts, code(c.reason))
		if store {
			fmt.Fprintf(b, " %d |", c.change)
		}
		b.WriteString("\n")
	}
}

func whyNot(party, fault string) string {
	for why, faults := range notThere[party] {
		if slices.Contains(faults, fault) {
			return why
		}
	}
	return ""
}

// code shows what is a word of the product's as such.
func code(text string) string {
	switch text {
	case "":
		return ""
	case none, noAnswer:
		return text
	}
	return "`" + text + "`"
}
