package java

import (
	"fmt"
	"strings"
)

// requests are odd in everything but the path and the body: each call with other
// methods, queries and forms of the request target, and a dispatch with other
// hosts and lengths.
func requests() []*row {
	var rows []*row
	for _, c := range calls {
		add := func(kind, method, target, header, body string) {
			rows = append(rows, &row{kind: kind, method: method, target: target, header: header, body: body})
		}
		for _, method := range []string{
			strings.ToLower(c.method), c.method[:1] + strings.ToLower(c.method[1:]), strings.ToLower(c.method[:1]) + c.method[1:],
			"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "REPORT", "_" + c.method, c.method + "S",
		} {
			if method != c.method {
				add("method", method, c.path(), c.header, c.body)
			}
		}
		for _, query := range []string{
			"?", "?a=b", "?a=/../b", "?/../x", "?a=%00", "??", "?;a=b", "?a=b#c", "?.json", "?format=json", "?username=jeff", "?_method=", "?%zz", "?a=\\", "?\u00e9", "?{x}",
		} {
			add("query", c.method, c.path()+query, c.header, c.body)
		}
		for _, override := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "patch", "Delete"} {
			const form = "Content-Type: application/x-www-form-urlencoded\r\n"
			for _, method := range []string{"POST", "GET", "PUT"} {
				for _, query := range []string{"?_method=" + override, "?a=b&_method=" + override, "?%5fmethod=" + override, "?_method=" + override + "&_method=POST", "?_method=%" + fmt.Sprintf("%02x", override[0]) + override[1:], "?_meth%6Fd=" + override, "?;_method=" + override, "?_METHOD=" + override} {
					add("method in the query", method, c.path()+query, c.header, c.body)
				}
				for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"} {
					add("method in a header", method, c.path(), c.header+name+": "+override+"\r\n", c.body)
				}
			}
			for _, body := range []string{"_method=" + override, "a=b&%5fmethod=" + override, "_method=" + override + "&" + c.body} {
				add("method in a form", "POST", c.path(), form, body)
				add("method in a form", "POST", c.path(), strings.Replace(form, "\r", ";charset=UTF-8\r", 1), body)
				add("method in a form", "POST", strings.Replace(c.path(), "/token", "/x/../token", 1), form, body)
			}
		}
		for _, before := range []string{
			"http://127.0.0.1", "HTTP://127.0.0.1", "https://127.0.0.1", "http://other.example:80", "http://a@127.0.0.1", "http://a:b@127.0.0.1", "http://", "http:", "http:/", "http:///", "http://127.0.0.1/.", "http://127.0.0.1/x/..",
			"http://127.0.0.1;a", "http://127.0.0.1%2f", "http://127.0.0.1\\", "http://[::1]", "http://127.0.0.1:", "ws://127.0.0.1", "x:", "//127.0.0.1", "///127.0.0.1", "/http://127.0.0.1", "/127.0.0.1/..", "//127.0.0.1/..", "*", "?", "#", ":80", "127.0.0.1:80", ".", "..", "/..", "\\", "//", "\\\\127.0.0.1", "%2f", "//a@127.0.0.1", "//nevisfido/..", "//nevisfido;",
		} {
			add("absolute form", c.method, before+c.path(), c.header, c.body)
		}
		add("absolute form", c.method, c.path()[1:], c.header, c.body)
		add("absolute form", c.method, "http://127.0.0.1?"+c.path(), c.header, c.body)
		add("absolute form", c.method, "http://127.0.0.1#"+c.path(), c.header, c.body)
	}
	return append(rows, framings(calls[0])...)
}

// framings write a dispatch with other hosts, lengths and line ends. Those who
// are wrong about its length see a second call in its body, or none.
func framings(c call) []*row {
	var rows []*row
	add := func(kind, raw string) {
		rows = append(rows, &row{kind: kind, method: c.method, target: c.path(), raw: raw})
	}
	first := c.method + " " + c.path() + " HTTP/1.1\r\n"
	common := "Accept-Encoding: gzip\r\nRead: 1\r\nCase: {case}\r\n" + c.header
	length := fmt.Sprintf("Content-Length: %d\r\n", len(c.body))
	for _, host := range []string{
		"", "Host:\r\n", "Host: \r\n", "Host: other.example\r\n", "Host: 127.0.0.1\r\nHost: other.example\r\n", "Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", "host: 127.0.0.1\r\n", "Host: 127.0.0.1:0\r\n",
		"Host: a@127.0.0.1\r\n", "Host: 127.0.0.1/x\r\n", "Host: 127.0.0.1/..\r\n", "Host: [::1]\r\n", "Host: a b\r\n", "Host: \u00e9\r\n", "Host: 127.0.0.1;x\r\n", "Host: ..\r\n", "Host : 127.0.0.1\r\n", "X: y\r\n Host: 127.0.0.1\r\n",
	} {
		add("host", first+host+common+length+"\r\n"+c.body)
	}
	head := first + "Host: 127.0.0.1\r\n" + common
	second := first + "Host: 127.0.0.1\r\nAccept-Encoding: gzip\r\n" + c.header + length + "\r\n" + c.body
	chunks := func(extension, trailer string) string {
		return fmt.Sprintf("\r\n%x%s\r\n%s\r\n0\r\n%s\r\n", len(c.body), extension, c.body, trailer)
	}
	for _, lines := range []string{
		"Transfer-Encoding: chunked\r\n", "transfer-encoding: Chunked\r\n", "Transfer-Encoding:\tchunked\r\n", "Transfer-Encoding:chunked \r\n", "Transfer-Encoding : chunked\r\n", "Transfer-Encoding: \"chunked\"\r\n", "Transfer-Encoding: xchunked\r\n",
		"Transfer-Encoding: chunked, identity\r\n", "Transfer-Encoding: identity, chunked\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked;a=b\r\n",
		"Transfer-Encoding:\r\n chunked\r\n", "X: y\r\n Transfer-Encoding: chunked\r\n", "Transfer-Encoding: \vchunked\r\n", "Transfer_Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
		"Transfer-Encoding: chunked\r\n" + length, "TE: chunked\r\n", "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
	} {
		add("chunks", head+lines+chunks("", ""))
		add("chunks", head+lines+"\r\n0\r\n\r\n"+second)
	}
	for _, extension := range []string{";a=b", ";a=\"\r\n\"", ";", " ", "\t;a", ";a\n", "\r\r\n", "g", "_"} {
		add("chunks", head+"Transfer-Encoding: chunked\r\n"+chunks(extension, ""))
	}
	for _, trailer := range []string{"A: b\r\n", "Content-Length: 5\r\n", "Dispatcher: x\r\n", "X\r\n"} {
		add("chunks", head+"Transfer-Encoding: chunked\r\n"+chunks("", trailer))
	}
	n := len(c.body)
	for _, value := range []string{
		fmt.Sprintf("+%d", n), fmt.Sprintf("0%d", n), fmt.Sprintf("0x%x", n), fmt.Sprintf("%d, %d", n, n), fmt.Sprintf("%d,", n), fmt.Sprintf("%d.0", n), fmt.Sprintf("%d\v", n), fmt.Sprintf("\t%d ", n), fmt.Sprintf("%d\r\nContent-Length: %d", n, n),
		fmt.Sprintf("%d\r\nContent-Length: 0", n), fmt.Sprintf("0\r\nContent-Length: %d", n), "0", "-1", "18446744073709551616", "\u0661", fmt.Sprintf("\r\n %d", n), fmt.Sprint(n + len(second)),
	} {
		add("length", head+"Content-Length: "+value+"\r\n\r\n"+c.body)
		add("length", head+"Content-Length: "+value+"\r\n\r\n"+c.body+second)
	}
	for _, other := range []string{
		strings.ReplaceAll(head+length+"\r\n", "\r\n", "\n") + c.body, "\r\n" + head + length + "\r\n" + c.body, strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1) + length + "\r\n" + c.body, strings.Replace(head, "HTTP/1.1", "HTTP/1.2", 1) + length + "\r\n" + c.body,
		strings.Replace(head, "HTTP/1.1", "HTTP/2.0", 1) + length + "\r\n" + c.body, strings.Replace(head, " HTTP/1.1", "", 1) + length + "\r\n" + c.body, strings.Replace(head, " /", "  /", 1) + length + "\r\n" + c.body, strings.Replace(head, " /", "\t/", 1) + length + "\r\n" + c.body,
		strings.Replace(head, " HTTP", "  HTTP", 1) + length + "\r\n" + c.body, strings.Replace(head, " HTTP", " x HTTP", 1) + length + "\r\n" + c.body, strings.Replace(head, "HTTP/1.1", "http/1.1", 1) + length + "\r\n" + c.body, head + length + "X\x00: y\r\n\r\n" + c.body,
		head + length + "X: \x00\r\n\r\n" + c.body, head + length + "X: a\rb\r\n\r\n" + c.body, head + "\r" + length + "\r\n" + c.body, head + length + "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + c.body, head + length + "Connection: Content-Type\r\n\r\n" + c.body, head + length + "Connection: Content-Length, Read\r\n\r\n" + c.body,
	} {
		add("line ends and versions", other)
	}
	return rows
}
