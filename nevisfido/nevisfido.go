// Package nevisfido is the wire language of nevisFIDO's out-of-band services:
// which call a request is, the messages of the dispatch-token, dispatch-target
// and registration services, the out-of-band payload and the links that carry
// it. It consists of pure functions over bytes.
//
// Member names and forms follow the nevisFIDO reference guide (UAF HTTP API,
// out-of-band services). Where the guide is silent every plausible form is
// accepted on input and the documented one is emitted; docs/protocol.md lists
// those places.
package nevisfido

// Operation is the FIDO UAF operation that an out-of-band message starts. Its
// value is the last segment of the dispatch and redeem paths.
type Operation string

// The operations of the dispatch-token service.
const (
	Registration   Operation = "registration"
	Authentication Operation = "authentication"
	Deregistration Operation = "deregistration"
)

// Operations returns all operations, in the order of the documentation.
func Operations() []Operation {
	return []Operation{Registration, Authentication, Deregistration}
}

// Valid reports whether nevisFIDO knows the operation.
func (o Operation) Valid() bool {
	return o == Registration || o == Authentication || o == Deregistration
}

// DispatchResult is the outcome that the dispatch-token service reports in its
// answer (nevisFIDO reference guide, dispatch token service).
type DispatchResult string

// The documented dispatch results.
const (
	Dispatched             DispatchResult = "dispatched"
	DispatchError          DispatchResult = "dispatchError"
	DispatchTargetExpired  DispatchResult = "dispatchTargetExpired"
	DispatchTargetNotFound DispatchResult = "dispatchTargetNotFound"
	DispatcherNotFound     DispatchResult = "dispatcherNotFound"
	UserNotFound           DispatchResult = "userNotFound"
	InternalError          DispatchResult = "internalError"
)

// Names of nevisFIDO's built-in dispatchers.
const (
	BuiltInFCM    = "firebase-cloud-messaging"
	BuiltInLink   = "link"
	BuiltInQRCode = "png-qr-code"
	BuiltInLinkQR = "link-png-qr-code"
)
