package letter

import (
	"errors"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// The statuses of a printer that failed while it was at the job.
const (
	ippInternalError = 0x0500
	ippDeviceError   = 0x0504
)

// Job states of a job that will not be printed to its end (RFC 8011, section
// 5.3.7).
const (
	jobCanceled = 7
	jobAborted  = 8
)

// jobOutcome says what the printer's answer to a job means.
func jobOutcome(a *ippAnswer) error {
	e := statusError(a.status)
	if a.status == ippInternalError || a.status == ippDeviceError {
		return uncertain(e)
	}
	if e != nil {
		return e
	}
	if state := a.enum("job-state"); state == jobCanceled || state == jobAborted {
		return uncertain(errors.New("the printer took the job and gave it up"))
	}
	return nil
}

// statuses are those of IPP (RFC 8011, appendix B) that mean something else
// than that the printer refuses this job.
var statuses = map[uint16]struct {
	class dispatchers.Class
	text  string
}{
	0x0401:           {dispatchers.Broken, "client-error-forbidden: it does not print for this sidecar"},
	0x0402:           {dispatchers.Broken, "client-error-not-authenticated: configure client_cert, or let it print without"},
	0x0403:           {dispatchers.Broken, "client-error-not-authorized: it does not print for this sidecar"},
	0x0406:           {dispatchers.Broken, "client-error-not-found: it has no such queue; check the path of its URL"},
	0x0407:           {dispatchers.Broken, "client-error-gone: it has this queue no longer"},
	0x040a:           {dispatchers.Broken, "client-error-document-format-not-supported: it does not print PDF; use the queue of a print server"},
	ippInternalError: {dispatchers.Temporary, "server-error-internal-error"},
	0x0501:           {dispatchers.Broken, "server-error-operation-not-supported"},
	0x0502:           {dispatchers.Temporary, "server-error-service-unavailable"},
	0x0503:           {dispatchers.Broken, "server-error-version-not-supported: it does not speak IPP 2.0"},
	ippDeviceError:   {dispatchers.Temporary, "server-error-device-error"},
	0x0505:           {dispatchers.Temporary, "server-error-temporary-error"},
	0x0506:           {dispatchers.Temporary, "server-error-not-accepting-jobs"},
	0x0507:           {dispatchers.Temporary, "server-error-busy"},
}

// statusError returns nil for the successful statuses, those below 0x0100.
func statusError(status uint16) error {
	if status < 0x0100 {
		return nil
	}
	if s, ok := statuses[status]; ok {
		return printerFailure(s.class, "the printer answered %s", s.text)
	}
	return printerFailure(dispatchers.Refused, "the printer answered with the IPP status %#04x", status)
}
