package java

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// call is one of nevisFIDO's, with a body that the sidecar reads.
type call struct {
	name, method string
	segments     []string
	header, body string
}

const (
	jsonHeader = "Content-Type: application/json\r\n"
	target     = `{"username":"jeff","deviceId":"d-1","name":"Phone","target":"token-1","dispatcher":"` + ours + `"}`
)

var calls = []call{
	{"authentication", "POST", []string{"nevisfido", "token", "dispatch", "authentication"}, jsonHeader, `{"dispatcher":"` + ours + `","dispatchTargetId":"4711"}`},
	{"create", "POST", []string{"nevisfido", "token", "dispatch", "targets"}, jsonHeader, target},
	{"query", "GET", []string{"nevisfido", "token", "dispatch", "targets"}, "", ""},
	{"modify", "PATCH", []string{"nevisfido", "token", "dispatch", "targets", "ab-47"}, "Content-Type: application/jose\r\n", "a.b.c"},
	{"delete", "DELETE", []string{"nevisfido", "token", "dispatch", "targets", "ab-47"}, "", ""},
	{"register", "POST", []string{"nevisfido", "uaf", "1.1", "registration"}, "Content-Type: application/fido+uaf\r\n", fmt.Sprintf(`{"context":%q}`, `{"dispatchTarget":`+target+`}`)},
	{"modify device", "PATCH", []string{"nevisfido", "devices", "credentials", "ab-47"}, jsonHeader, "{}"},
	{"delete device", "DELETE", []string{"nevisfido", "devices", "credentials", "ab-47"}, "", ""},
}

func (c call) path() string { return "/" + strings.Join(c.segments, "/") }

// separators are what may stand where a slash belongs, and at the end.
var separators = map[string][]string{
	"repeated slash":          {"//", "///", "/////////"},
	"slash at the end":        {"/"},
	"dot segment":             {"/./", "/././", "/.", "/%2e/", "/%2E/", "/.%2f", "/.//", "//./", "/.;/", "/.;a=b/", "/;/./"},
	"detour":                  {"/x/../", "/../", "/x/y/../../", "/x//../", "/./x/.././", "//../", "/..", "/.../", "/x/../../x/../", "/../nevisfido/", "/x/../x/../"},
	"encoded detour":          {"/%2e%2e/", "/x/%2e%2e/", "/x/.%2E/", "/x/%2e./", "/x%2f../", "/x/..%2f", "/x%2f..%2f", "/x/%2e%2e%2f", "/x%5c../", "/x\\..\\", "/x/..\\"},
	"detour with parameters":  {"/x/..;/", "/x/..;a=b/", "/x;a=b/../", "/x/%2e%2e;/", "/..;/", "/x/;/../", "/x/.;/../", "/x/..%3b/"},
	"parameters":              {";/", ";a=b/", ";a=b;c=d/", ";jsessionid=01.node0/", "/;/", "/;a=b/", "/;a=b;c", ";%61=b/", ";;/", ";a=b,c/"},
	"odd parameters":          {";a=%2f/", ";a=%2e%2e/", ";a=%00/", ";a=\\/", ";a=/../", ";a=%5c/", ";a=%3b/", ";%/", ";a=%252f/", ";..", ";/../x/../"},
	"encoded semicolon":       {"%3b/", "%3Ba=b/", "/%3b/", "%253b/", "%3b", "/%3ba"},
	"encoded slash":           {"%2f", "%2F", "/%2f", "%2f/", "%2f%2f", "/%2f/", "%2f%2e%2f"},
	"backslash":               {"\\", "/\\", "\\/", "%5c", "%5C", "/%5c", "%5c/", "\\\\", "\\.\\"},
	"encoded twice or more":   {"%252f", "%252F", "%255c", "/%252e/", "/x/%252e%252e/", "%25252f", "%25%32%66", "%25%32f", "/%252f", "/x/..%252f"},
	"NUL":                     {"%00/", "/%00", "/%00/", "%2500/", "%00", "\\0"},
	"white space":             {"%20/", "/%20", "/%20/", "%09/", "/%09", "%0a/", "/%0a", "%0d%0a/", "%a0/", "%c2%a0/", "/%c2%a0", "%e3%80%80/", "+/", "/+", "%e2%80%8b/", "%ef%bb%bf/", "/%1f", "%7f/", "%85/", "%c2%85/"},
	"slash of another kind":   {"%c0%af", "%e0%80%af", "%f0%80%80%af", "%f8%80%80%80%af", "%ef%bc%8f", "%e2%88%95", "%e2%81%84", "%u002f", "%uff0f", "\uff0f", "\u2215", "\xc0\xaf", "%2%66", "%%32%66", "&#x2f;", "%c1%9c", "/\xaf"},
	"dot of another kind":     {"/%c0%ae/", "/x/%c0%ae%c0%ae/", "/%u002e/", "/x/%uff0e%uff0e/", "/x/\uff0e\uff0e/", "/\u2024/", "/x/%e0%80%ae%e0%80%ae/"},
	"query or fragment early": {"?/", "%3f/", "#/", "%23/", "/?/../", "/#/../", "%253f/"},
	"another segment":         {"/x/", ":/", "/*/", "/**/", "/{x}/", "~/", "/-/", "|/", "/\"/", "/<>/", "^/", "/`/", ",/", "/@", "/index.html/", "/index.jsp"},
	"bad escape":              {"%/", "/%", "%zz/", "%2/", "%f", "/%-1/", "%2 /"},
}

// affixes are what may stand before and after the name of a segment.
var affixes = map[string][]string{
	"suffix":               {".json", ".JSON", ".xml", ".html", ".do", ".action", ".x", ".j", ".json.json", ".tar.gz", "..json", ".7z", ".jsonjsonjson", "%2ejson", "%2Ejson", "%252ejson", ".%6ason", ".json/", ".json//", ".json/.", ".json%00", ".json%20", ".json.", ".-", ".{x}", ".json?", ".json#", ".\u00e4", ".%c3%a4"},
	"suffix, parameters":   {".json;a=b", ";a=.json", ";.json", ";a.json", ".json;.xml", ";a=b.json", "%3b.json", ".;json", ".json;/"},
	"dots":                 {".", "..", "...", "%2e", "%2e%2e", ".;", ".%20", "%252e", ".%00", ".+"},
	"white space":          {"%20", "%09", "%0a", "%0b", "%0c", "%0d", "%1c", "%1f", "%7f", "%85", "%a0", "%c2%85", "%c2%a0", "%e1%9a%80", "%e2%80%83", "%e2%80%a8", "%e3%80%80", "%20%20", "%2520"},
	"invisible characters": {"%e2%80%8b", "%e2%80%8d", "%ef%bb%bf", "%c2%ad", "%cc%81", "%e2%81%a0", "%e2%80%ae", "%f3%a0%80%a0", "\ufeff", "%01", "%08"},
	"NUL":                  {"%00", "%00.json", "%00/x", "%00;", "%2500", "%00%00"},
	"parameters":           {";", ";x", ";a=b", ";;", ";a=b;c", ";a/x"},
	"encoded semicolon":    {"%3b", "%3ba=b", "%253ba"},
	"another character":    {"*", "s", "-", "~", "_", "!", "$", "'", "(", ")", ",", "=", "@", ":", "&", "&amp;", "|", "{}", "[]", "%2a", "%26", "%2b", "+", "\"", "<", ">", "^", "`", "%22", "\u00e9", "%e9", "\xe9"},
	"bad escape":           {"%", "%zz", "%2", "%u0020", "%-1", "%%"},
}

// names are other ways to write a segment itself.
var names = map[string]func(string) []string{
	"encoded letters": func(s string) []string {
		return []string{hex(s, 0, 1, "%%%02x"), hex(s, 0, 1, "%%%02X"), hex(s, len(s)-1, len(s), "%%%02x"), hex(s, 0, len(s), "%%%02x"), hex(s, 0, len(s), "%%%02X"), hex(s, 1, 2, "%%%02x")}
	},
	"encoded twice or more": func(s string) []string {
		return []string{hex(s, 0, 1, "%%25%02x"), hex(s, 0, len(s), "%%25%02x"), hex(s, 0, 1, "%%2525%02x"), hex(hex(s, 0, 1, "%%%02x"), 0, 3, "%%%02x"), hex(s, 0, 1, "%%252525%02x"), hex(s, 0, 1, "%%2525252525%02x")}
	},
	"letter case": func(s string) []string {
		return []string{strings.ToUpper(s), strings.ToUpper(s[:1]) + s[1:], s[:1] + strings.ToUpper(s[1:2]) + s[2:], hex(strings.ToUpper(s), 0, 1, "%%%02x")}
	},
	"letters alike": func(s string) []string {
		var all []string
		for _, pair := range []string{"k\u212a", "s\u017f", "i\u0131", "I\u0130", "o\u043e", "a\u0430"} {
			letter, other := pair[:1], pair[1:]
			for _, base := range []string{s, strings.ToUpper(s)} {
				alike := strings.Replace(base, letter, other, 1)
				all = append(all, alike, hex(alike, 0, len(alike), "%%%02x"))
			}
		}
		wide := string(rune(s[0])-'!'+'\uff01') + s[1:]
		return append(all, wide, hex(wide, 0, 3, "%%%02x"))
	},
	"letter encoded otherwise": func(s string) []string {
		overlong := string([]byte{0xc0 | s[0]>>6, 0x80 | s[0]&0x3f})
		return []string{
			hex(s, 0, 1, "%%u%04x"), hex(s, 0, 1, "%%U%04X"), hex(overlong, 0, 2, "%%%02x") + s[1:], overlong + s[1:], hex(s, 0, 1, "&#x%x;"), hex(s, 0, 1, "\\u%04x"), hex(s, 0, 1, "%%00%%%02x"), hex(s, 0, 1, "%%uff%02x"),
			hex(s, 0, 1, "%%e0%%81%%%02x"),
		}
	},
	"another name": func(s string) []string { return []string{"", s[1:], s[:len(s)-1], s + s, "x", "*", "{id}", "targets"} },
}

func hex(s string, from, to int, format string) string {
	var b strings.Builder
	b.WriteString(s[:from])
	for _, c := range []byte(s[from:to]) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String() + s[to:]
}

// A spelling is a path that is being written.
type spelling struct{ separators, segments []string }

// A change writes one thing otherwise.
type change struct {
	kind string
	make func(spelling)
}

// changes lists what can be written otherwise in a path.
func changes(segments []string) []change {
	var all []change
	for _, kind := range slices.Sorted(maps.Keys(separators)) {
		for _, s := range separators[kind] {
			for at := range len(segments) + 1 {
				all = append(all, change{kind, func(p spelling) { p.separators[at] = s }})
			}
		}
	}
	for at := range segments {
		for _, kind := range slices.Sorted(maps.Keys(affixes)) {
			for _, s := range affixes[kind] {
				all = append(all,
					change{kind, func(p spelling) { p.segments[at] += s }},
					change{kind, func(p spelling) { p.segments[at] = s + p.segments[at] }})
			}
		}
		for _, kind := range slices.Sorted(maps.Keys(names)) {
			for _, s := range names[kind](segments[at]) {
				all = append(all, change{kind, func(p spelling) { p.segments[at] = s }})
			}
		}
	}
	return all
}

// drawn is how many spellings of each call have two or three changes.
const drawn = 150

// spellings writes the path of each call in every way of one change, and in some
// of two or three.
func spellings() []*row {
	var rows []*row
	seen := make(map[string]bool)
	draw := rand.New(rand.NewPCG(1, 2))
	for _, c := range calls {
		add := func(kind string, some ...change) {
			p := spelling{make([]string, len(c.segments)+1), append([]string(nil), c.segments...)}
			for i := range c.segments {
				p.separators[i] = "/"
			}
			for _, change := range some {
				change.make(p)
			}
			var path strings.Builder
			for i, segment := range p.segments {
				path.WriteString(p.separators[i] + segment)
			}
			path.WriteString(p.separators[len(p.segments)])
			if key := c.name + path.String(); !seen[key] {
				seen[key] = true
				rows = append(rows, &row{kind: kind, method: c.method, target: path.String(), header: c.header, body: c.body})
			}
		}
		add(documented)
		all := changes(c.segments)
		for _, change := range all {
			add(change.kind, change)
		}
		for i := range drawn {
			some := []change{all[draw.IntN(len(all))], all[draw.IntN(len(all))]}
			if i%2 == 1 {
				some = append(some, all[draw.IntN(len(all))])
			}
			add("several of these", some...)
		}
	}
	return rows
}

const documented = "as documented"
