package mail

import (
	"crypto/tls"

	"github.com/oob-dispatch/oob-dispatch/simulator/internal/loopback"
)

// Certificate says what is wrong with a certificate of NewCertificate. The
// zero value is a good one for 127.0.0.1 and localhost.
type Certificate struct {
	Name    string // another host instead
	Expired bool
}

// NewCertificate makes a certificate that vouches for itself, and returns it
// in PEM as well.
func NewCertificate(c Certificate) (tls.Certificate, []byte, error) {
	return loopback.NewCertificate(c.options())
}

func (c Certificate) options() loopback.Certificate {
	return loopback.Certificate{CommonName: "simulated mail server", Host: c.Name, Expired: c.Expired}
}
