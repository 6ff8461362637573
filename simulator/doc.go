// Package simulator is the home of the test kit: everything around the sidecar
// that a test or a demonstration needs and that nobody wants to install.
//
//   - Package nevis is a nevisFIDO: the documented out-of-band services with
//     their status codes, in the manner of LTS21 (plain links) or of 8.2511
//     (links sealed for the target's key), and misbehaviour on request.
//   - Package device is a phone with the app: it makes keys, registers a dispatch
//     target, opens what it receives over any channel, and redeems the token.
//   - Package google is Firebase Cloud Messaging with its OAuth server, and
//     package proxy the forward proxy on the way to it.
//   - Package mail is a mail server, gateway an HTTP gateway such as that of an
//     SMS provider, pushservice a web push service with its browsers, printer a
//     printer that speaks IPP, and scanner a camera in front of a letter.
//   - Package idm is a nevisIDM, with both of its interfaces for targets.
//
// Package double is what those that speak HTTP have in common, and package
// fault the one engine by which all of them misbehave on request.
//
// The parts speak HTTP with each other and share no state, so that each of them
// can be swapped for the real thing. They are written from nevisFIDO's reference
// and share no parsing with the sidecar, so that a mistake on one side shows on
// the other. Nothing here is linked into the product.
//
// A whole exchange, without a sidecar in between:
//
//	fido, err := nevis.Start(nevis.Options{Users: []string{"jeff"}})
//	defer fido.Close()
//
//	phone, err := device.New(device.Options{Username: "jeff", Frontend: fido.URL()})
//	err = phone.Register(ctx, fido.URL()+"/nevisfido", device.Registration{})
//
//	// A relying party posts to fido.URL() + "/nevisfido/token/dispatch/authentication"
//	// with the target phone.TargetID() and the dispatcher "link", and gets a link.
//
//	message, err := phone.Open(link)
//	redeemed, err := phone.Redeem(ctx, message)
//	err = phone.Approve(ctx, redeemed)
package simulator
