package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// clockSkew is by how much another machine's clock may be ahead.
const clockSkew = 5 * time.Minute

// refusal says why a line is not imported. It quotes nothing of the line. The
// reasons are a closed set; that of a refused key has its encrypt.Reason behind
// the name of the member.
type refusal struct{ reason, text string }

func refuse(reason, format string, args ...any) *refusal {
	return &refusal{reason: reason, text: fmt.Sprintf(format, args...)}
}

// record is a line. The user is for the file key source; no store keeps it.
type record struct {
	targets.Record
	User jsontext.Value `json:"user,omitempty"`
}

// parse reads a line strictly.
func parse(l *line) (*record, *refusal) {
	switch {
	case l.tooLong:
		return nil, refuse("too_long", "it has more than %d bytes", maxLine)
	case bytes.IndexByte(l.text, 0) >= 0:
		return nil, refuse("nul", "it holds NUL bytes: the input is binary, or UTF-16 in place of UTF-8")
	case bytes.HasPrefix(l.text, []byte("\xef\xbb\xbf")):
		return nil, refuse("byte_order_mark", "it begins with a byte order mark: save the file as UTF-8 without it")
	case !utf8.Valid(l.text):
		return nil, refuse("not_utf8", "it is not UTF-8")
	}
	r := new(record)
	err := strict.Unmarshal(l.text, r, strict.RejectUnknownMembers(true))
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return nil, refuse("not_json", "it is no JSON object, or not a strict one, at byte %d", syntax.ByteOffset)
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if strict.Unmarshal(l.text, &version) == nil && version.Schema > targets.SchemaVersion {
		return nil, refuse("newer_schema", "schema %d was written by a newer release; this one knows %d", version.Schema, targets.SchemaVersion)
	}
	if member, ok := errors.AsType[*strict.SemanticError](err); ok {
		return nil, refuse("not_a_record", "it has a member that records have not, or a value of another type, at byte %d", member.ByteOffset)
	}
	if err == nil && byHand(&r.Target) && r.Status == "" && r.Schema == 1 {
		r.Status = targets.Active
	}
	if err != nil || r.Schema < 1 || r.ID == "" || r.Upgrade() != nil {
		return nil, refuse("not_a_record", "it is not the record of a dispatch target: schema and id are needed")
	}
	return r, nil
}

// check vets the keys of a record and completes one that was written by hand.
// Those are the ones that do not tell when they were updated; they keep that
// time zero until they are stored.
func (im *Import) check(t *targets.Target) *refusal {
	if t.Namespace != im.Namespace {
		return refuse("other_namespace", "its namespace is not that of the handler, %q", im.Namespace)
	}
	if byHand(t) {
		t.Created = time.Time{}
		if t.Source == "" {
			t.Source = targets.SourceImport
		}
	}
	if latest := im.now().Add(clockSkew); t.Created.After(latest) || t.Updated.After(latest) {
		return refuse("in_the_future", "created or updated lies in the future")
	}
	if why := im.vetKeys(t); why != nil {
		return why
	}
	if _, err := targets.Encode(t, t.Ref()); err != nil {
		return refuse("not_a_record", "%v", err)
	}
	return nil
}

func (im *Import) vetKeys(t *targets.Target) *refusal {
	if absent(t.EncryptionKey) {
		t.EncryptionKey = nil
	} else {
		key, err := encrypt.ParseKey(t.EncryptionKey, im.Policy)
		if err != nil {
			return refuseKey("encryption_key", err)
		}
		if t.Thumbprint != "" && t.Thumbprint != key.Thumbprint() {
			return refuse("thumbprint", "the thumbprint is not that of the encryption key: one of them was changed")
		}
		t.EncryptionKey, t.Thumbprint = key.JWK(), key.Thumbprint()
	}
	if absent(t.SignatureKey) {
		t.SignatureKey = nil
		return nil
	}
	key, err := encrypt.ParseSignatureKey(t.SignatureKey)
	if err != nil {
		return refuseKey("signature_key", err)
	}
	t.SignatureKey = key.JWK()
	return nil
}

func refuseKey(member string, err error) *refusal {
	reason := encrypt.ReasonMalformed
	if e, ok := errors.AsType[*encrypt.KeyError](err); ok {
		reason = e.Reason
	}
	return refuse(member+" "+string(reason), "%s: %v", member, err)
}

func absent(jwk json.RawMessage) bool {
	return len(jwk) == 0 || string(jwk) == "null" || string(jwk) == `""`
}

func byHand(t *targets.Target) bool { return t.Updated.IsZero() }
