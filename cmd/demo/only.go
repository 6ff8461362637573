package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
	"github.com/oob-dispatch/oob-dispatch/simulator/nevis"
)

// parts can be started alone, for trying a Caddyfile of one's own. Each returns
// the lines that such a Caddyfile needs.
var parts = map[string]func(s *stack, address string, mode nevis.Mode) (lines string, err error){
	"nevisfido": (*stack).onlyNevisFIDO,
	"google":    (*stack).onlyGoogle,
	"mail":      (*stack).onlyMail,
	"gateway":   (*stack).onlyGateway,
	"nevisidm":  (*stack).onlyNevisIDM,
}

const phonePart = "phone"

// readParts reads the value of --only.
func readParts(list string) (names []string, err error) {
	names = strings.Split(list, ",")
	for i, name := range names {
		if parts[name] == nil && name != phonePart || slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("--only %s: name some of nevisfido, google, mail, gateway, nevisidm and phone, each once", list)
		}
	}
	if slices.Contains(names, phonePart) && !slices.Contains(names, "google") {
		return nil, errors.New("--only phone needs google as well: the phone's push messages arrive there")
	}
	return names, nil
}

// serveOnly runs parts until the context ends, the first on an address and each
// further one on the next port. The phone registers through the sidecar.
func serveOnly(ctx context.Context, out io.Writer, names []string, listen, sidecar, files string, mode nevis.Mode) error {
	host, first, err := net.SplitHostPort(listen)
	port, err2 := strconv.Atoi(first)
	if err := errors.Join(err, err2); err != nil || host == "" {
		return fmt.Errorf("--listen %s: it takes host:port, such as 127.0.0.1:9080", listen)
	}
	s := &stack{address: strings.TrimPrefix(sidecar, "http://")}
	defer s.close()
	if s.files = files; files == "" {
		if s.folder, err = os.MkdirTemp("", "oob-dispatch-demo-"); err != nil {
			return err
		}
		s.files = s.folder
	} else if err := os.MkdirAll(files, 0o700); err != nil {
		return fmt.Errorf("--files: %w", err)
	}
	var options, after strings.Builder
	for _, name := range names {
		if name == phonePart {
			continue
		}
		lines, err := parts[name](s, net.JoinHostPort(host, strconv.Itoa(port)), mode)
		if err != nil {
			return fmt.Errorf("starting %s: %w", name, err)
		}
		port++
		if name == "nevisfido" {
			after.WriteString(lines)
		} else {
			options.WriteString(lines)
		}
	}
	fmt.Fprintf(out, "# What a Caddyfile for these parts needs:\n%s {\n\toob_dispatch {\n%s\t}\n%s}\n\n", sidecar, options.String(), after.String())
	if !slices.Contains(names, phonePart) {
		s.report(ctx, out)
		return nil
	}
	p, err := s.registerWhenUp(ctx, out)
	if err != nil {
		return nil // the context ended: that is the way out
	}
	go s.report(ctx, out)
	s.answer(ctx, out, p)
	return nil
}

func (s *stack) onlyNevisFIDO(address string, mode nevis.Mode) (lines string, err error) {
	s.nevis, err = nevis.Start(nevis.Options{Address: address, Mode: mode})
	return "\treverse_proxy " + address + "\n", err
}

func (s *stack) onlyGoogle(address string, _ nevis.Mode) (lines string, err error) {
	if s.google, err = google.Start(google.Options{Address: address}); err != nil {
		return "", err
	}
	file, err := s.write("firebase.json", s.google.ServiceAccountJSON())
	return fmt.Sprintf("\t\tdispatcher push fcm {\n\t\t\tcredentials %s\n\t\t\tendpoint %s\n\t\t}\n", file, s.google.URL()), err
}

func (s *stack) onlyMail(address string, _ nevis.Mode) (lines string, err error) {
	listener, err := net.Listen("tcp", address) //nolint:noctx // it ends with the server
	if err != nil {
		return "", err
	}
	if s.mail, err = mail.Start(mail.Options{Listener: listener}); err != nil {
		return "", err
	}
	file, err := s.write("mail-ca.pem", s.mail.CA())
	return fmt.Sprintf("\t\tdispatcher mail smtp {\n\t\t\tserver %s\n\t\t\tca %s\n\t\t\tfrom \"Example Bank <login@bank.example.com>\"\n"+
		"\t\t\taddress jeff@example.com\n\t\t\tbase_url https://app.example.com/open\n\t\t}\n", address, file), err
}

func (s *stack) onlyGateway(address string, _ nevis.Mode) (lines string, err error) {
	if s.gateway, err = gateway.Start(gateway.Options{Address: address}); err != nil {
		return "", err
	}
	return fmt.Sprintf("\t\tdispatcher sms webhook {\n\t\t\turl %s/messages\n\t\t\taddress \"+41 79 000 00 00\"\n"+
		"\t\t\tbase_url https://app.example.com/open\n\t\t\ttext \"Please confirm: {oob.link}\"\n\t\t\tsms_segments 20\n\t\t}\n", s.gateway.URL()), nil
}

func (s *stack) onlyNevisIDM(address string, _ nevis.Mode) (lines string, err error) {
	password := rand.Text()
	if s.idm, err = idm.Start(idm.Options{Address: address, Login: idm.Login{Username: "oob", Password: password}}); err != nil {
		return "", err
	}
	s.idm.SetUser(idm.User{
		ExtID: "jeff", LoginID: "jeff", FirstName: "Jeff", FamilyName: "Example", Email: "jeff@example.com", Mobile: "+41 79 000 00 00",
		Address: idm.Address{Street: "Example Street", HouseNumber: "1", PostalCode: "8000", City: "Zurich", CountryCode: "ch"},
	})
	file, err := s.write("nevisidm-password", []byte(password))
	return fmt.Sprintf("\t\tkey_source nevisidm %s {\n\t\t\tclient 100\n\t\t\tauth basic oob {file.%s}\n\t\t}\n", s.idm.URL(), file), err
}

// write writes a file that a Caddyfile names.
func (s *stack) write(name string, content []byte) (path string, err error) {
	path = filepath.Join(s.files, name)
	return path, os.WriteFile(path, content, 0o600)
}

// registerWhenUp registers a phone as soon as the sidecar can be reached.
func (s *stack) registerWhenUp(ctx context.Context, out io.Writer) (*phone, error) {
	for told := ""; ; {
		p, err := s.register(ctx, device.CreateTarget)
		if err == nil {
			fmt.Fprintf(out, "phone: registered as dispatch target %s\n", p.TargetID())
			return p, nil
		}
		if now := err.Error(); now != told {
			fmt.Fprintf(out, "phone: waiting for the sidecar at %s: %v\n", s.url(), err)
			told = now
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// report tells of what arrives at the third parties, until the context ends.
func (s *stack) report(ctx context.Context, out io.Writer) {
	var mails, texts, pushes int
	letters := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
		if s.mail != nil {
			for _, m := range since(&mails, s.mail.Mails()) {
				fmt.Fprintln(out, describeMail(m))
			}
		}
		if s.gateway != nil {
			for _, m := range since(&texts, s.gateway.Messages()) {
				fmt.Fprintf(out, "text message of %d bytes arrived: %s\n", len(m.Body), shorten(string(m.Body)))
			}
		}
		if s.browser != nil {
			for _, m := range since(&pushes, s.browser.Requests()) {
				fmt.Fprintf(out, "web push of %d bytes arrived, sealed for a browser\n", len(m.Body))
			}
		}
		found, _ := filepath.Glob(filepath.Join(s.folder, "letters", "*.pdf"))
		for _, path := range found {
			if !letters[path] {
				fmt.Fprintf(out, "letter printed: %s\n", path)
				letters[path] = true
			}
		}
	}
}

// since returns what has arrived after the first that were told of, and counts it.
func since[T any](told *int, all []T) []T {
	news := all[min(*told, len(all)):]
	*told = len(all)
	return news
}

func describeMail(m mail.Mail) string {
	read, err := mail.Read(m.Data)
	if err != nil {
		return fmt.Sprintf("mail to %s arrived, and cannot be read: %v", strings.Join(m.To, ", "), err)
	}
	return fmt.Sprintf("mail to %s arrived: %q, with %d picture", strings.Join(m.To, ", "), read.Subject, len(read.Pictures))
}
