package assumptions

import "github.com/oob-dispatch/oob-dispatch/internal/shapes"

// Questions that a server is asked.
const (
	AskMalformed      = "dispatch_malformed"
	AskMalformedSlash = "dispatch_malformed_trailing_slash"
	AskOtherType      = "dispatch_other_content_type"
	AskUnknown        = "dispatch_unknown_dispatcher"
	AskQuery          = "targets_without_user"
	AskQuerySlash     = "targets_without_user_trailing_slash"
	AskQueryUser      = "targets_of_user"
	AskModify         = "modification_not_signed"
	AskRegister       = "registration_without_content"
)

// Places that several assumptions are about.
const (
	answer      = "dispatch answer 200"
	result      = answer + "/dispatchResult"
	response    = answer + "/dispatcherInformation/response"
	payload     = response + "/" + shapes.Parameter
	information = "dispatch request/dispatchInformation"
	encoding    = information + "/encodingParameters"
	signed      = "modify_target request/" + shapes.Payload
	registered  = "registration request/context/dispatchTarget"
	listed      = "query_targets answer 200/dispatchTargets"
	modifies    = "modify_device request/" + shapes.DeviceSignature
	deletes     = "delete_device request/" + shapes.DeviceSignature
)

// Types that are equally good.
var (
	text   = []string{shapes.String, shapes.Digits, shapes.JWS, shapes.JWE}
	object = []string{shapes.Object, shapes.Object + shapes.InText, shapes.Null}
	jwk    = []string{shapes.JWK, shapes.JWK + shapes.InText, shapes.JWK + shapes.InBase64}
	size   = []string{shapes.Number, shapes.Digits, shapes.Null}
	anyOf  = append(append(text, object...), shapes.Object+shapes.InBase64, shapes.Array+shapes.InText, shapes.EmptyString)
)

// All returns the assumptions in the order of the page.
func All() []Assumption {
	return []Assumption{
		{"A1", "paths", []check{same(AskMalformed, AskMalformedSlash), same(AskQuery, AskQuerySlash)}},
		{"A2", "`encryptionKey`, `signatureKey`", []check{
			fits("create_target request/encryptionKey", jwk...), fits("create_target request/signatureKey", jwk...),
			fits(registered+"/encryptionKey", jwk...), fits(registered+"/signatureKey", jwk...),
			fits(signed+"/encryptionKey", jwk...), fits(signed+"/signatureKey", jwk...),
		}},
		{"A3", "names of keys", []check{keyNames}},
		{"A4", "answer to a creation", []check{
			status("create_target", "201"), has("create_target answer 201/id", text...),
			counted(false, shapes.NoteUnidentified+"create "),
		}},
		{"A5", "UAF registration request", []check{fits(registered, object...), counted(true, shapes.NoteGuess+"target_"), looseKey}},
		{"A6", "UAF registration answer", []check{
			has("registration answer 200/statusCode", shapes.Constant+"1200", shapes.Constant+"1498", shapes.Number),
			counted(true, shapes.NoteGuess+"id_"), counted(false, shapes.NoteUnidentified+"registration "),
		}},
		{"A7", "JWS of a modification", []check{
			fits("modify_target request", shapes.JWS), has(signed+"/requestId", text...),
			has(signed+"/creationTimeInEpochMillis", shapes.Number), has(signed+"/dispatchTargetId", text...),
		}},
		{"A8", "answer to a modification or deletion", []check{
			status("modify_target", "2"), status("delete_target", "2"), status("modify_device", "2"), status("delete_device", "2"),
			unsigned,
		}},
		{"A9", "`Device-Signature`", []check{
			fits(modifies, shapes.JWS), has(modifies+"/"+shapes.Payload+"/dispatchTargetId", text...),
			fits(deletes, shapes.JWS), has(deletes+"/"+shapes.Payload+"/dispatchTargetId", text...),
		}},
		{"A10", "answer to a query of targets", []check{
			has(listed, shapes.Array), fits(listed+"/"+shapes.Elements, shapes.Object), has(listed+"/"+shapes.Elements+"/id", text...),
		}},
		{"A11", "`dispatchInformation`", []check{fits(information, object...)}},
		{"A12", "`dispatchInformation.data`", []check{fits(information+"/data", anyOf...)}},
		{"A13", "`encodingParameters`", []check{
			fits(encoding+"/width", size...), fits(encoding+"/height", size...),
			fits(encoding+"/foregroundColor", shapes.String), fits(encoding+"/backgroundColor", shapes.String),
		}},
		{"A14", "answer to a dispatch", []check{status("dispatch", "200"), dispatched}},
		{"A15", "answer to a failed dispatch", []check{has(result, results()...)}},
		{"A16", "a dispatcher that nevisFIDO does not know", []check{notFound}},
		{"A17", "`dispatcherInformation.response` of nevisFIDO's link", []check{linkForm, fits(payload, shapes.Object+shapes.InBase64)}},
		{"A18", "`nma_data`", []check{
			has(payload+"/nma_data", shapes.Object, shapes.Object+shapes.InText, shapes.JWE),
			fits(payload+"/nma_data/"+shapes.Header+"/alg", shapes.Constant+"RSA-OAEP-256"),
			fits(payload+"/nma_data/"+shapes.Header+"/enc", shapes.Constant+"A256CBC-HS512"),
		}},
		{"A19", "a malformed request", []check{answered(AskMalformed, 400), answered(AskOtherType, 415)}},
		{"A20", "JSON", []check{strict}},
	}
}

func results() (all []string) {
	for _, name := range shapes.DispatchResults() {
		all = append(all, shapes.Constant+name)
	}
	return all
}
