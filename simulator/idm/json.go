package idm

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"time"
)

type object map[string]any

// token is the continuation token after this item.
func (o object) token() string { return fmt.Sprintf("%d_%v", created, o["extId"]) }

func base(extID string) object {
	at := time.UnixMilli(created).UTC().Format(time.RFC3339)
	return object{"extId": extID, "version": 1, "created": at, "lastModified": at}
}

// given returns the members that are not empty.
func given(members map[string]string) object {
	o := object{}
	for name, value := range members {
		if value != "" {
			o[name] = value
		}
	}
	return o
}

func (u User) object() object {
	o := base(u.ExtID)
	o["clientExtId"], o["loginId"], o["userState"] = client, u.LoginID, cmp.Or(u.State, "active")
	o["name"] = given(map[string]string{"firstName": u.FirstName, "familyName": u.FamilyName})
	o["contacts"] = given(map[string]string{"email": u.Email, "mobile": u.Mobile})
	a := u.Address
	o["address"] = given(map[string]string{
		"street": a.Street, "houseNumber": a.HouseNumber, "postalCode": a.PostalCode, "city": a.City, "countryCode": a.CountryCode,
	})
	return o
}

// usersLike returns the users with a login id, or all.
func (s *Server) usersLike(loginID string) []object {
	var all []object
	for _, u := range s.users {
		if loginID == "" || strings.EqualFold(u.LoginID, loginID) {
			all = append(all, u.object())
		}
	}
	return all
}

func (s *Server) entities(user string) []object {
	var all []object
	for _, t := range s.targets[user] {
		if t.Credential {
			continue
		}
		o := base(cmp.Or(t.ExtID, t.ID))
		o["type"], o["state"] = "fido-uaf", cmp.Or(t.State, "active")
		maps.Copy(o, given(map[string]string{
			"deviceId": t.DeviceID, "name": t.Name, "target": t.Address, "dispatcher": t.Dispatcher,
			"encryptionKey": t.EncryptionKey, "signingKey": t.SigningKey,
		}))
		all = append(all, o)
	}
	return all
}

func (s *Server) credentials(user string) []object {
	var all []object
	for i, t := range s.targets[user] {
		if !t.Credential {
			continue
		}
		o := base(cmp.Or(t.ExtID, fmt.Sprintf("%s-%d", user, i)))
		o["userExtId"], o["stateName"] = user, cmp.Or(t.State, "active")
		o["identification"], o["properties"] = "dispatch_target_"+t.ID, given(map[string]string{
			"fidouaf_device_id": t.DeviceID, "fidouaf_name": t.Name, "fidouaf_target": t.Address, "fidouaf_dispatcher": t.Dispatcher,
			"fidouaf_encryption_key": t.EncryptionKey, "fidouaf_signature_key": t.SigningKey,
		})
		all = append(all, o)
	}
	return all
}
