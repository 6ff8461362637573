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

func (o object) set(name, value string) {
	if value != "" {
		o[name] = value
	}
}

func (u User) object(client string) object {
	o, contacts, name, address := base(u.ExtID), object{}, object{}, object{}
	o["clientExtId"] = client
	o["loginId"], o["userState"] = u.LoginID, cmp.Or(u.State, "active")
	o["contacts"], o["name"], o["address"] = contacts, name, address
	name.set("firstName", u.FirstName)
	name.set("familyName", u.FamilyName)
	contacts.set("email", u.Email)
	contacts.set("mobile", u.Mobile)
	address.set("addressline1", u.Address.Line1)
	address.set("addressline2", u.Address.Line2)
	address.set("street", u.Address.Street)
	address.set("houseNumber", u.Address.HouseNumber)
	address.set("postalCode", u.Address.PostalCode)
	address.set("city", u.Address.City)
	address.set("countryCode", u.Address.CountryCode)
	return o
}

// usersLike returns the users with a login id, or all.
func (s *Server) usersLike(loginID string) []object {
	var all []object
	for _, u := range s.users {
		if loginID == "" || strings.EqualFold(u.LoginID, loginID) {
			all = append(all, u.object(s.options.Client))
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
		o.set("deviceId", t.DeviceID)
		o.set("name", t.Name)
		o.set("target", t.Address)
		o.set("dispatcher", t.Dispatcher)
		o.set("encryptionKey", t.EncryptionKey)
		o.set("signingKey", t.SigningKey)
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
		o, properties := base(cmp.Or(t.ExtID, fmt.Sprintf("%s-%d", user, i))), object{}
		o["userExtId"], o["stateName"] = user, cmp.Or(t.State, "active")
		o["identification"], o["properties"] = "dispatch_target_"+t.ID, properties
		properties.set("fidouaf_device_id", t.DeviceID)
		properties.set("fidouaf_name", t.Name)
		properties.set("fidouaf_target", t.Address)
		properties.set("fidouaf_dispatcher", t.Dispatcher)
		properties.set("fidouaf_encryption_key", t.EncryptionKey)
		properties.set("fidouaf_signature_key", t.SigningKey)
		if t.Properties != nil {
			clear(properties)
			maps.Copy(properties, t.Properties)
		}
		all = append(all, o)
	}
	return all
}
