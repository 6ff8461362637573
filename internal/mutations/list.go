package main

// A mutation takes one guard out of the product by a change of one line.
type mutation struct {
	file     string // from the root of the repository
	old, new string // old occurs once in the file
	removes  string // what no longer holds
	in       string // package of the tests
	tests    string // one of which has to fail, divided by bars
}

// A property is what several guards keep.
type property struct {
	name   string
	guards []mutation
}

// Packages of the tests, which are not always those of the guards.
const (
	inEncrypt   = "./encrypt"
	inNevisfido = "./nevisfido"
	inTargets   = "./targets"
	inStore     = "./targets/kv"
	inBackends  = "./targets/kv/kvtest"
	inStorage   = "./targets/kv/caddystore"
	inExchange  = "./internal/exchange"
)

// mutations are those of all properties. What is out of date is what
// TestMutationsApply tells.
func mutations() (all []mutation) {
	for _, p := range properties {
		all = append(all, p.guards...)
	}
	return all
}

var properties = []property{
	{"Never in clear where encryption is required", []mutation{
		{
			"internal/delivery/compile.go", `if mustSeal {`, `if false {`,
			"a member of a composite sends in clear what another one has to encrypt",
			inExchange, "TestPreferredBesideRequired",
		},
		{
			"internal/delivery/send.go", `mustSeal = mustSeal || c.mustSeal`, `mustSeal = c.mustSeal`,
			"a composite within one that has to encrypt forgets it",
			inExchange, "TestPreferredBesideRequired",
		},
		{
			"internal/delivery/channel.go", `c.mustSeal = c.mustSeal || all[member].mustSeal`, `c.mustSeal = c.mustSeal || false`,
			"a composite does not know that a member has to encrypt",
			inExchange, "TestPreferredBesideRequired|TestCheckComposites",
		},
		{
			"internal/delivery/channel.go", `if member := c.inClear(); c.mustSeal && member != "" {`, `if member := c.inClear(); false {`,
			"encryption off beside required is no fault of the configuration",
			inExchange, "TestCheckComposites",
		},
		{
			"internal/delivery/compile.go", `(r.dispatch.Target == nil || r.dispatch.Target.Keyless())`, `true`,
			"preferred sends in clear to a target that has a key",
			inExchange, "TestPlainOnlyByPolicy",
		},
		{
			"internal/delivery/compile.go", `case r.dispatch.unknownTarget():`, `case false:`,
			"a target that nobody knows passes for one without a key",
			inExchange, "TestPlainOnlyByPolicy|TestFailClosed",
		},
		{
			"internal/exchange/dispatch.go", `case errors.Is(err, targets.ErrNotFound):`, `case err != nil:`,
			"a store that is away passes for one that does not have the target",
			inExchange, "TestFailClosed",
		},
		{
			"internal/delivery/payload.go", `if envelope.ContentType == nevisfido.ContentTypeSealed {`, `if false {`,
			"what claims to be encrypted and is not is sent as it is",
			inExchange, "TestUnusablePayload",
		},
		{
			"targets/key.go", `return len(t.EncryptionKey) == 0 && t.KeyRefused == ""`, `return len(t.EncryptionKey) == 0`,
			"a target whose key was refused passes for one without a key",
			inTargets, "TestRefusedKeyIsRemembered",
		},
		{
			"targets/key.go", `t.KeyRefused = refused.Reason`, `_ = refused.Reason`,
			"it is forgotten that a key was refused",
			inTargets, "TestRefusedKeyIsRemembered",
		},
		{
			"nevisfido/target.go", `if keys.Unclear && !present(keys.Encryption) {`, `if false {`,
			"keys of which nothing tells which one encrypts pass for none",
			inNevisfido, "TestKeysOfATarget",
		},
		{
			"nevisfido/guesses.go", `s.unreadable = s.unreadable || strings.Contains(value.Text(), ` + "`\"kty\"`" + `)`, `_ = value`,
			"text that looks like a key and cannot be read passes for none",
			inNevisfido, "TestKeysOfATarget",
		},
		{
			"nevisfido/guesses.go", `case names.encryptionKey() && holdsSomething(value):`, `case false:`,
			"what its name calls an encryption key, and is none, passes for nothing",
			inNevisfido, "TestKeysOfATarget",
		},
		{
			"targets/directory.go", `if errors.Is(err, ErrNotFound) { // never to be taken for an answer`, `if false {`,
			"trouble that speaks of something not found passes for a target that does not exist",
			inTargets, "TestFindTellsTroubleFromAbsence",
		},
	}},

	{"Never sealed twice", []mutation{
		{
			"internal/delivery/payload.go", `if isText && encrypt.IsSealed(text) {`, `if false && isText && encrypt.IsSealed(text) {`,
			"what nevisFIDO sealed is taken for clear text",
			inExchange, "TestNoDoubleEncryption",
		},
		{
			"internal/delivery/compile.go", `if r.payload.sealed {`, `if false {`,
			"what nevisFIDO sealed is sealed again",
			inExchange, "TestNoDoubleEncryption",
		},
		{
			"encrypt/compact.go", `slices.Contains(sealedAlgs, header.Member("alg").Text()) && `, ``,
			"a header with dir, none or any other alg passes for encryption",
			inEncrypt, "TestIsSealed",
		},
		{
			"encrypt/compact.go", `err != nil || parts[2] == "" || parts[4] == ""`, `err != nil`,
			"a JWE without nonce and tag passes for encryption",
			inEncrypt, "TestIsSealed",
		},
	}},

	{"Keys are vetted", []mutation{
		{
			"encrypt/jwk.go", `if m.has(name) {`, `if false {`,
			"a private or symmetric key is taken for a public one",
			inEncrypt, "TestJWKPolicy",
		},
		{
			"encrypt/jwk.go", `if err := value.RefuseVariants(meaningful...); err != nil {`, `if err := value.RefuseVariants(meaningful...); false {`,
			"a member in another letter case hides what a laxer parser reads",
			inEncrypt, "TestJWKPolicy",
		},
		{
			"encrypt/jwk.go", `case bits != 2048 && bits != 3072 && bits != 4096:`, `case bits < 2048:`,
			"an RSA key of any size costs what its sender likes",
			inEncrypt, "TestJWKPolicy|TestCostOfHostileKeys",
		},
		{
			"encrypt/jwk.go", `case bits < minBits:`, `case false:`,
			"min_rsa_bits has no effect",
			inEncrypt, "TestMinRSABits",
		},
		{
			"encrypt/jwk.go", `case e.Cmp(big.NewInt(publicExponent)) != 0:`, `case e.Sign() < 0:`,
			"an RSA key with another exponent is taken for one with 65537",
			inEncrypt, "TestJWKPolicy",
		},
		{
			"encrypt/modulus.go", `case hasSmallFactor(n):`, `case false:`,
			"a modulus with a small factor is a good one",
			inEncrypt, "TestWeakModuliAreRefused",
		},
		{
			"encrypt/modulus.go", `case isROCA(n):`, `case false:`,
			"a modulus of CVE-2017-15361 is a good one",
			inEncrypt, "TestWeakModuliAreRefused",
		},
		{
			"encrypt/modulus.go", `case hasCloseFactors(n):`, `case false:`,
			"a modulus of close primes is a good one",
			inEncrypt, "TestWeakModuliAreRefused",
		},
		{
			"encrypt/jwk.go", `case m.has("use") && j.Use != u.use:`, `case false:`,
			"a signature key is used to encrypt",
			inEncrypt, "TestJWKPolicy",
		},
		{
			"encrypt/jwk.go", `case m.has("alg") && !slices.Contains(algorithms, j.Alg):`, `case false:`,
			"RSA1_5 and other algorithms that are not on the list are used",
			inEncrypt, "TestJWKPolicy",
		},
		{
			"encrypt/jwk.go", `if !fits {`, `if false {`,
			"key_ops has no effect",
			inEncrypt, "TestJWKPolicy",
		},
		{
			"targets/key.go", `if key.Thumbprint() != t.Thumbprint {`, `if false {`,
			"a key that was damaged in the store and is somebody else's is used",
			inTargets, "TestKey",
		},
		{
			"targets/key.go", `if d.MaxKeyAge > 0 && d.KeyAge(t) > d.MaxKeyAge {`, `if false {`,
			"max_key_age has no effect",
			inTargets, "TestKeyAge",
		},
		{
			"targets/key.go", `t.KeySince = since`, `_ = since`,
			"a key gets younger whenever a modification brings it again",
			inTargets, "TestKeyAge",
		},
	}},

	{"Signatures are verified", []mutation{
		{
			"encrypt/signature.go", `if !k.matches(alg, []byte(input), signature) {`, `if !k.matches(alg, []byte(input), signature) && len(signature) == 0 {`,
			"any signature is good",
			inEncrypt, "TestVerifyRefuses",
		},
		{
			"encrypt/signature.go", `case header.Find("crit").Exists() || header.Find("b64").Exists():`, `case false:`,
			"an extension that changes what is signed is overlooked",
			inEncrypt, "TestVerifyRefuses",
		},
		{
			"encrypt/signature.go", `case !slices.Contains(k.algs, alg):`, `case !slices.Contains(k.algs, alg) && len(alg) != 5:`,
			"the sender chooses the algorithm",
			inEncrypt, "TestVerifyTakesEveryAlgorithmOfTheKey",
		},
		{
			"encrypt/signature.go", `if j.Alg != "" {`, `if false {`,
			"a key that names its algorithm is good for others",
			inEncrypt, "TestVerifyTakesEveryAlgorithmOfTheKey",
		},
		{
			"encrypt/signature.go", `rsa.PSSSaltLengthEqualsHash`, `rsa.PSSSaltLengthAuto`,
			"a PSS signature has any length of salt",
			inEncrypt, "TestVerifyRefusesOtherPSSSalts",
		},
		{
			"targets/modify.go", `forged = !m.verified`, `forged = false`,
			"a modification that does not verify counts as the device's",
			inTargets, "TestForgeryDisablesNothing",
		},
		{
			"targets/modify.go", `case c.forged:`, `case false:`,
			"a modification that nevisFIDO accepts with another key than ours is applied",
			inTargets, "TestObjections|TestForgeryDisablesNothing",
		},
		{
			"targets/modify.go", `|| t.unsure(memberSignatureKey) {`, `{`,
			"a signature key that nevisFIDO may have replaced still tells who forges",
			inTargets, "TestUnsureSignatureKey",
		},
	}},

	{"A forged request marks nothing, and no other user's target", []mutation{
		{
			"targets/change.go", `c.fenced[ref] = !c.forged && `, `c.fenced[ref] = `,
			"anybody disables a target by a forged modification",
			inTargets, "TestForgeryDisablesNothing",
		},
		{
			"targets/change.go", `c.outcome == unanswered && c.forged, `, ``,
			"anybody disables a target by a forged modification that nevisFIDO does not answer",
			inTargets, "TestForgeryDisablesNothing",
		},
		{
			"targets/device.go", `c.forged = !verified && !named.unsure(memberSignatureKey)`, `c.forged = false`,
			"anybody disables the targets of a device",
			inTargets, "TestChangeOfDeviceThatDoesNotVerify",
		},
		{
			"targets/device.go", `verified = err == nil && d.fresh(p.CreatedAt)`, `verified = err == nil`,
			"a recorded call for a device disables its targets again and again",
			inTargets, "TestChangeOfDevice|TestChangeOfDeviceThatDoesNotVerify",
		},
		{
			"targets/device.go", `current.Username != "" && current.Username == r.named.Username`, `true`,
			"a call for a device concerns the targets of other users with the same device id",
			inTargets, "TestChangeOfDeviceLooksAtTheRecords",
		},
		{
			"targets/device.go", `current.DeviceID == r.device &&`, `true &&`,
			"a call for a device concerns the user's targets on other devices",
			inTargets, "TestChangeOfDevice|TestChangeOfDeviceLooksAtTheRecords",
		},
		{
			"targets/device.go", `if named.DeviceID != call.Device {`, `if false {`,
			"the key of a target on one device modifies it in the name of another device",
			inTargets, "TestDevicePayloadForAnotherDevice",
		},
		{
			"internal/exchange/body.go", `body, upstream, err := readTargetCall(w, r)`, `body, upstream, err := []byte{}, r, error(nil)`,
			"who sends half a deletion and leaves disables a target",
			inExchange, "TestHalfAChangeMarksNothing",
		},
		{
			"internal/exchange/change.go", `err == io.EOF || b.length >= 0 && b.read >= b.length`, `true`,
			"who sends half a modification and leaves disables a target",
			inExchange, "TestHalfAChangeMarksNothing",
		},
	}},

	{"The record is fenced before nevisFIDO is asked", []mutation{
		{
			"targets/change.go", `current.fence(c.id, c.members, c.d.now())`, `_ = c.id`,
			"a process that dies in between leaves an old key in use",
			inTargets, "TestCrashLeavesStale",
		},
		{
			"targets/target.go", `|| t.Fence != nil && slices.Contains(t.Fence.Members, member)`, ``,
			"a fence keeps nothing from being used",
			inTargets, "TestCrashLeavesStale",
		},
		{
			"targets/target.go", `t.Unsure = union(t.Unsure, t.Fence.Members)`, `t.Unsure = union(t.Unsure, nil)`,
			"what a process was changing when it died is trusted again",
			inTargets, "TestCrashLeavesStale",
		},
		{
			"targets/target.go", `return t.unsure(memberEncryptionKey) || t.unsure(memberExistence)`, `return t.unsure(memberEncryptionKey)`,
			"a message goes to the key of a target that may be deleted",
			inExchange, "TestStaleTarget|TestNoDispatchToADeletedTarget",
		},
		{
			"targets/target.go", `return t.unsure(memberAddress) || t.unsure(memberDispatcher) || t.unsure(memberExistence)`,
			`return t.unsure(memberAddress) || t.unsure(memberExistence)`,
			"an address of another kind is used",
			inExchange, "TestStaleTarget",
		},
		{
			"internal/delivery/compile.go", `!r.payload.sealed && r.dispatch.Target.KeyUnsure() || `, ``,
			"a message is sealed for a key that nevisFIDO may have replaced",
			inExchange, "TestStaleTarget",
		},
		{
			"internal/delivery/compile.go", ` || to.own && r.dispatch.Target.AddressUnsure()`, ``,
			"a message goes to an address that nevisFIDO may have replaced",
			inExchange, "TestStaleTarget",
		},
		{
			"internal/exchange/change.go", `case x.ObserveOnly:`, `case true:`,
			"a change is forwarded although the record could not be fenced",
			inExchange, "TestMarkingFails",
		},
		{
			"internal/exchange/change.go", `defer func() { x.finish(upstream, c, change, 0) }()`, `defer func() {}()`,
			"a proxy that panics locks the target for good",
			inExchange, "TestUnansweredChangeLeavesTheRecordStale|TestRequestsThatBreakOff",
		},
		{
			"internal/exchange/change.go", `context.WithoutCancel(upstream.Context()), targets.ChangeTime)`, `upstream.Context(), targets.ChangeTime)`,
			"who hangs up at the right moment disables a target",
			inExchange, "TestClientGoneDuringAChange",
		},
		{
			"targets/directory.go", `context.WithDeadline(context.WithoutCancel(ctx), end)`, `context.WithDeadline(ctx, end)`,
			"what nevisFIDO has done is not recorded when the caller hangs up",
			inTargets, "TestChangeOutlivesTheRequest|TestLearnOutlivesTheRequest",
		},
		{
			"targets/change.go", `case status >= 200 && status < 300:`, `case status >= 200 && status < 400:`,
			"a redirect is taken for an accepted change",
			inTargets, "TestPatchCommitOnlyOn204",
		},
		{
			"targets/change.go", `case status == Unsent, status >= 400 && status < 500:`, `case status == Unsent, status >= 400:`,
			"an error of nevisFIDO's is taken for a refused change",
			inTargets, "TestPatchCommitOnlyOn204",
		},
		{
			"targets/change.go", `case c.outcome == unanswered:`, `case false:`,
			"a change that nevisFIDO did not answer is applied",
			inTargets, "TestPatchCommitOnlyOn204",
		},
		{
			"internal/exchange/change.go", `!c.body.ended.Load() && `, ``,
			"a large modification that nevisFIDO has read to its end passes for one that it never got",
			inExchange, "TestLargeModificationIsInDoubt",
		},
		{
			"targets/change.go", `if err != nil && c.outcome == accepted && !c.fenced[ref] {`, `if false {`,
			"what nevisFIDO has accepted and the store does not take is lost",
			inTargets, "TestUnsyncedChangeIsStale|TestChangeOfDeviceThatCannotBeRecordedStaysStale",
		},
		{
			"targets/change.go", `if c.outcome != refused {`, `if false {`,
			"what nevisFIDO has accepted while the store was away is lost",
			inTargets, "TestUnrecordedHistories",
		},
		{
			"targets/directory.go", `if d.Unsynced.overflowed() {`, `if false {`,
			"records are trusted although changes of them were lost",
			inTargets, "TestMoreThanCanWait",
		},
		{
			"targets/learn.go", `return d.Writable(ctx)`, `return nil`,
			"nevisFIDO makes targets that the store does not take",
			inTargets, "TestBeginLearn",
		},
	}},

	{"Changes that overlap are not guessed at", []mutation{
		{
			"targets/change.go", `c.d.Unsynced.changing.Lock(ctx, ref.Hash())`, `c.d.Unsynced.changing.Lock(ctx, ref.Hash()+c.id)`,
			"two changes of a target overtake each other within the process",
			inTargets, "TestChangesOfATargetWait",
		},
		{
			"targets/modify.go", `case !alone:`, `case false:`,
			"of two changes at once the one that is recorded last wins",
			inTargets, "TestOverlappingChanges",
		},
		{
			"targets/target.go", `f.Shared = f.Shared || len(f.Changes) > 0`, `_ = f.Shared`,
			"a change does not see that another one overlapped with it",
			inTargets, "TestOverlappingChanges",
		},
		{
			"targets/target.go", `t.Fence.Shared = true`, `_ = t.Fence.Shared`,
			"a change does not see what became unsure meanwhile",
			inTargets, "TestForgeryThatIsAcceptedDuringAChange",
		},
		{
			"targets/change.go", `case c.retried && !there, `, `case c.retried && !there && false, `,
			"an outcome that is recorded late undoes what somebody has seen to",
			inTargets, "TestFinishWithStoreDown|TestRecordIsRightOrStale|TestFenceThatComesLateIsTakenBack|TestUnrecordedHistories",
		},
		{
			"targets/change.go", `c.d.Unsynced.retry(&back)`, `_ = &back`,
			"a fence that reaches the store late stays, although nevisFIDO was never asked",
			inTargets, "TestFenceThatComesLateIsTakenBack",
		},
	}},

	{"A record is compared before it is replaced", []mutation{
		{
			"targets/kv/store.go", `if done || err != nil {`, `if done || true {`,
			"an edit is lost when another one came first",
			inBackends, "TestBackendKeepsTheContract",
		},
		{
			"targets/kv/store.go", `return s.backend.Swap(ctx, key, old, data)`, `now, _ := s.get(ctx, key); return s.backend.Swap(ctx, key, now, data)`,
			"an edit overwrites another one that it has not seen",
			inBackends, "TestBackendKeepsTheContract",
		},
		{
			"targets/kv/store.go", `(!heal || errors.Is(err, targets.ErrNewer))`, `(!heal || errors.Is(err, targets.ErrNewer) && false)`,
			"a record of a newer release is overwritten",
			inBackends, "TestBackendKeepsTheContract",
		},
		{
			"targets/kv/device.go", `if token == "" || l.Targets[ref.ID] != token {`, `if false {`,
			"a target is taken off the list of its device while another process puts it there",
			inBackends, "TestBackendKeepsTheContract",
		},
		{
			"targets/directory.go", `!Equal(current, known)`, `false`,
			"what a key source said overwrites a change that came meanwhile",
			inTargets, "TestFindKeepsWhatHasChangedMeanwhile",
		},
		{
			"targets/directory.go", `t.Updated = d.now() // also where all was unsure`, `_ = t.Updated // also where all was unsure`,
			"a key source that was asked before a change is believed after it",
			inTargets, "TestFindForgetsAnAnswerOlderThanAChange",
		},
		{
			"targets/directory.go", `if known != nil && !s.live() {`, `if false {`,
			"an exported file brings an old key back",
			inTargets, "TestStaleRecordIsRepairedFromLiveSourceOnly",
		},
		{
			"targets/directory.go", `case !errors.Is(err, ErrNotFound):`, `case false:`,
			"where a key source fails the next one brings an older key",
			inTargets, "TestFindTellsTroubleFromAbsence|TestFindAsksSourcesInOrder",
		},
		{
			"targets/directory.go", ` || t.underWay(d.now())`, ``,
			"a key source is believed while nevisFIDO changes the target",
			inTargets, "TestChangeUnderWayIsNotRepaired",
		},
	}},

	{"A record is that of its target, and of nobody who writes the store", []mutation{
		{
			"targets/kv/seal.go", `case !sealed && r.acceptUnsealed:`, `case !sealed:`,
			"whoever writes the store puts in a key of his own",
			inStore, "TestWhatWasNotSealedHereIsRefused",
		},
		{
			"targets/kv/seal.go", `return append(slices.Clone(header), place...)`, `return append(slices.Clone(header), place[:0]...)`,
			"a sealed record can be moved to another target",
			inStore, "TestWhatWasNotSealedHereIsRefused|TestRoundTrip",
		},
		{
			"targets/codec.go", `if t.Ref().Hash() != hash {`, `if false {`,
			"the record of one target is read for another",
			inTargets, "TestDecode",
		},
		{
			"targets/directory.go", `return t, t.check(ref)`, `return t, nil`,
			"a store that gives the record of another target is believed",
			inTargets, "TestFindComparesTheRecord",
		},
		{
			"targets/codec.go", ` || len(r.Unknown) > 0 && r.Schema <= SchemaVersion`, ``,
			"members that nobody knows are overlooked",
			inTargets, "TestDecode",
		},
		{
			"targets/codec.go", `case demanded > SchemaVersion:`, `case false:`,
			"a record that demands a newer release is used",
			inTargets, "TestDecode|TestNewerRecordIsNotOverwritten",
		},
		{
			"targets/kv/marker.go", `case v == nil && seen:`, `case false:`,
			"a store that was emptied passes for one without targets",
			inStorage, "TestVolumeThatIsNotMounted",
		},
	}},

	{"A modification of the dispatcher alone", []mutation{
		{
			"targets/modify.go", `!m.verified || `, ``,
			"anybody sets the dispatcher of a target",
			inTargets, "TestOnlyDispatcher",
		},
		{
			"targets/modify.go", `m.payload.TargetID != c.refs[0].ID ||`, `false ||`,
			"what was signed for one target is applied to another",
			inTargets, "TestOnlyDispatcher",
		},
		{
			"targets/modify.go", `m.payload.CreatedAt == 0 || `, ``,
			"a modification without a time is good for ever",
			inTargets, "TestOnlyDispatcher|TestDispatcherReplay",
		},
		{
			"targets/modify.go", `!c.d.fresh(m.payload.CreatedAt) || `, ``,
			"an old modification is good for ever",
			inTargets, "TestOnlyDispatcher|TestDispatcherReplay",
		},
		{
			"targets/modify.go", ` || m.payload.CreatedAt < m.modified {`, ` {`,
			"an older modification undoes a later one",
			inTargets, "TestOnlyDispatcher|TestDispatcherReplay",
		},
		{
			"targets/modify.go", `if applied = alone && `, `if applied = (alone || true) && `,
			"it is applied although another change overlapped with it",
			inTargets, "TestApplyDispatcherDuringAnotherChange",
		},
		{
			"nevisfido/target.go", ` && m.Target == nil && m.EncryptionKey == nil && m.SignatureKey == nil && !m.UnclearKeys`, ``,
			"a key or an address that nevisFIDO has refused is reported as changed",
			inNevisfido, "TestParseModification|TestKeysOfAModification",
		},
		{
			"internal/exchange/change.go", `rec.status != http.StatusUnprocessableEntity || `, ``,
			"a refusal of nevisFIDO's for any reason is answered with success",
			inExchange, "TestModifyToADispatcherOfOurs",
		},
		{
			"internal/exchange/change.go", ` || x.Channels[name] == nil {`, ` || name == "" {`,
			"a dispatcher that nobody has is set",
			inExchange, "TestModifyToADispatcherOfOurs",
		},
	}},

	{"Replays", []mutation{
		{
			"targets/modify.go", `case p.TargetID != "" && p.TargetID != ref.ID:`, `case false:`,
			"what a device signed for one target is applied to another",
			inTargets, "TestObjections",
		},
		{
			"targets/modify.go", `case m.verified && !c.d.fresh(p.CreatedAt):`, `case false:`,
			"a recorded modification is applied later",
			inTargets, "TestObjections",
		},
		{
			"targets/modify.go", `case p.CreatedAt != 0 && current != nil && p.CreatedAt < current.Modified:`, `case false:`,
			"an older modification undoes a later one",
			inTargets, "TestOlderPatchIgnored",
		},
		{
			"targets/modify.go", `t.Modified = max(t.Modified, m.CreatedAt)`, `t.Modified = m.CreatedAt`,
			"after a modification without a time older ones are good again",
			inTargets, "TestOlderPatchIgnored",
		},
	}},

	{"Paths, headers and bodies are read in one way", []mutation{
		{
			"nevisfido/route.go", `if match(baseSegments, method, segments, true).Call != Other {`, `if match(baseSegments, method, segments, true).Call != Other && len(segments) == 0 {`,
			"a spelling that another server takes for a call passes",
			inNevisfido, "TestAmbiguousPathsAreRefused",
		},
		{
			"nevisfido/route.go", `case pathsafe.Ambiguous(route.ID):`, `case false:`,
			"a suffix makes another id of the one that nevisFIDO reads",
			inNevisfido, "TestSuffixesAreRefused",
		},
		{
			"nevisfido/route.go", `if len(escapedPath) > pathsafe.MaxLength {`, `if false {`,
			"a path of any length is taken apart",
			inNevisfido, "TestAmbiguousPathsAreRefused",
		},
		{
			"internal/exchange/exchange.go", `if err != nil && !x.ObserveOnly {`, `if false {`,
			"an ambiguous path is forwarded",
			inExchange, "TestStraightThrough|TestMalformedRequest",
		},
		{
			"internal/exchange/dispatch.go", `if !isPlainJSON(r.Header) {`, `if false {`,
			"a body that its headers announce as something else is read as JSON",
			inExchange, "TestContentTypeMatrix",
		},
		{
			"internal/exchange/header.go", `if len(values) != 1 {`, `if len(values) < 1 {`,
			"of two content types one is chosen",
			inExchange, "TestContentTypeMatrix",
		},
		{
			"internal/exchange/dispatch.go", `if request.Doubt != nil {`, `if false {`,
			"a byte order mark, which some parsers take for a fault, is skipped",
			inExchange, "TestMalformedRequest",
		},
		{
			"nevisfido/dispatch.go", `o.RefuseVariants("dispatchTargetId", "dispatcher", "dispatchInformation", "getUafRequest"); err != nil {`,
			`o.RefuseVariants("dispatchTargetId", "dispatcher", "dispatchInformation", "getUafRequest"); false {`,
			"a member in another letter case says something else to another parser",
			inNevisfido, "TestMalformedDispatchRequests",
		},
		{
			"nevisfido/target.go", `"encryptionKey", "signatureKey")` + "\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\tkeys", `"encryptionKey", "signatureKey")` + "\n\tkeys",
			"a modification with a member in another letter case is believed",
			inNevisfido, "TestParseModification",
		},
		{
			"nevisfido/envelope.go", `if !c.object.Find(name).Exists() && !reserved(name) {`, `if !c.object.Find(name).Exists() {`,
			"a caller's data bring a second token or redeem URL",
			inNevisfido, "TestDataIsMergedFlat",
		},
		{
			"nevisfido/envelope.go", `!c.object.Find(name).Exists() && `, ``,
			"a caller's data replace members of nevisFIDO's",
			inExchange, "TestNevisFIDOsOwnMembersAreKept",
		},
		{
			"nevisfido/link.go", `case slices.Contains(unsafeSchemes, u.Scheme):`, `case slices.Contains(unsafeSchemes[:1], u.Scheme):`,
			"a link that a browser runs is a base URL",
			inNevisfido, "TestValidBaseURL",
		},
	}},

	{"nevisFIDO's answer", []mutation{
		{
			"internal/exchange/upstream.go", `if answer.Result != nevisfido.Dispatched {`, `if false {`,
			"what nevisFIDO did not dispatch is delivered",
			inExchange, "TestDeclined",
		},
		{
			"internal/delivery/payload.go", `if !nevisfido.ValidToken(answer.Token) {`, `if false {`,
			"a token that is none goes into links and headers",
			inExchange, "TestNevisFIDOsLinkNeverReachesTheCaller",
		},
		{
			"internal/delivery/payload.go", `if content.Token != answer.Token {`, `if false {`,
			"the message holds another token than the caller's answer",
			inExchange, "TestUnusablePayload",
		},
		{
			"internal/exchange/upstream.go", `if !bytes.HasPrefix(text, []byte("{")) && !bytes.HasPrefix(text, []byte("[")) {`, `if len(text) > 0 {`,
			"nevisFIDO's own link, which may be clear, reaches the caller",
			inExchange, "TestNevisFIDOsLinkNeverReachesTheCaller",
		},
		{
			"internal/exchange/recorder.go", `case coding(rec.header) != "":`, `case false:`,
			"an answer in a content coding passes for JSON",
			inExchange, "TestUpstreamMatrix",
		},
		{
			"internal/exchange/recorder.go", `if int64(rec.body.Len()+len(p)) > rec.limit {`, `if false {`,
			"an endless answer is kept in memory",
			inExchange, "TestUpstreamMatrix",
		},
		{
			"internal/exchange/header.go", `r.Header.Set("Accept-Encoding", "identity")`, `_ = r.Header`,
			"a caller has nevisFIDO answer in a coding that cannot be read",
			inExchange, "TestIdentityIsAskedFor",
		},
		{
			"internal/exchange/learn.go", `func(status int, _ http.Header) bool { return status == l.success }`, `func(status int, _ http.Header) bool { return status >= l.success }`,
			"a target is learned that nevisFIDO has refused",
			inExchange, "TestNothingIsLearnedOfARefusedTarget",
		},
		{
			"nevisfido/registration.go", `strings.Trim(string(status), ` + "`\"`" + `) != statusSucceeded`, `strings.Trim(string(status), ` + "`\"`" + `) == "none"`,
			"a target is learned of a registration that failed",
			inNevisfido, "TestParseRegistered",
		},
		{
			"nevisfido/guesses.go", `case s.search.exceeded || len(s.ids) > 1:`, `case s.search.exceeded:`,
			"of several ids one is taken for the new target's",
			inNevisfido, "TestParseRegistered",
		},
	}},

	{"Limits", []mutation{
		{
			"internal/exchange/admit.go", `reached, err := x.Limiter.TakeAll(ctx, counts)`, `reached, err := -1, error(nil)`,
			"nothing is counted",
			inExchange, "TestLimits",
		},
		{
			"internal/exchange/admit.go", `reached, err := x.Limiter.TakeAll(ctx, counts)`, `reached, err := x.Limiter.TakeAll(ctx, counts); if err != nil { reached, err = -1, nil }`,
			"where nothing can be counted everything is allowed",
			inExchange, "TestLimiterUnavailable",
		},
		{
			"internal/exchange/admit.go", `add("", limits)`, `_ = limits`,
			"limits of all dispatchers together have no effect",
			inExchange, "TestLimits",
		},
		{
			"internal/exchange/admit.go", `if !x.courier.Serves(c, d.Operation) {`, `if false {`,
			"a channel serves operations that the operator took from it",
			inExchange, "TestOperations",
		},
		{
			"internal/exchange/admit.go", `netip.PrefixFrom(address, 64)`, `netip.PrefixFrom(address, 128)`,
			"a client with an IPv6 network has as many limits as addresses",
			inExchange, "TestLimits",
		},
		{
			"internal/exchange/admit.go", `d.Target != nil && d.Target.Username == d.Request.Username`, `true`,
			"made up names push out the counters of users",
			inExchange, "TestWhatIsCountedApart",
		},
		{
			"internal/exchange/admit.go", `if c.Composite != nil {`, `if false {`,
			"a composite of which a member may have delivered gives its count back",
			inExchange, "TestCompositeThatFailsCounts",
		},
		{
			"internal/delivery/journal.go", ` && !slices.ContainsFunc(r.Attempts, uncertain)`, ` && uncertain != nil`,
			"a message that may have arrived does not count",
			inExchange, "TestUncertainAttemptsCount",
		},
		{
			"internal/delivery/journal.go", `failure != nil && failure.Class == dispatchers.Broken && `, `failure != nil && `,
			"a dispatch that fails at a third party does not count",
			inExchange, "TestLimits|TestBrokenDispatchersCountNothing|TestMembersKeepTheirGuards",
		},
		{
			"internal/exchange/counters.go", `if s := &t.slots[i]; s.n < s.limit {`, `if s := &t.slots[i]; s.n > 0 {`,
			"a counter at its limit is pushed out by made up ids",
			inExchange, "TestCountersInForceAreKept",
		},
		{
			"internal/exchange/limiter.go", `if l.counters(c).reached(c.Key, now) {`, `if i == 0 && l.counters(c).reached(c.Key, now) {`,
			"only the first of several limits holds",
			inExchange, "TestAllOrNothing|TestLimits",
		},
	}},

	{"The caller's answer is true", []mutation{
		{
			"internal/exchange/conclusion.go", `case e.failure != nil:`, `case false:`,
			"what was not delivered is reported as dispatched",
			inExchange, "TestRecordOfEveryOutcome|TestFailClosed",
		},
		{
			"nevisfido/dispatch.go", `{Name: "dispatchResult", Value: strictjson.Quote(string(out.Result))},`, ``,
			"nevisFIDO's result stands in place of ours",
			inNevisfido, "TestDispatchAnswer",
		},
		{
			"internal/delivery/send.go", `if failure == nil || !failure.Class.Valid() {`, `if failure == nil {`,
			"a failure of no known class has no result",
			inExchange, "TestAttempts",
		},
		{
			"internal/delivery/send.go", "defer catchPanic(c.Name, &err)\n\t\treturn", "defer func() { _ = recover() }()\n\t\treturn",
			"a guest module that panicked has delivered",
			inExchange, "TestPanicsAreNotShown",
		},
		{
			"internal/delivery/send.go", `failure.Class != dispatchers.Temporary || `, ``,
			"a failure that is final, or an address that is gone, is tried again",
			inExchange, "TestAttempts",
		},
		{
			"internal/delivery/delivery.go", `return cmp.Or(d.Target.Username, d.Request.Username)`, `return cmp.Or(d.Request.Username, d.Target.Username)`,
			"the caller chooses the user whose mail address is used, and whom the record names",
			inExchange, "TestUsernameOfTheRecord",
		},
	}},

	{"The audit trail is true", []mutation{
		{
			"internal/delivery/journal.go", `if r.Encryption != clearText {`, `if true {`,
			"a message that left in clear over one member and sealed over another is on record as sealed",
			inExchange, "TestClearBesideSealed",
		},
		{
			"internal/exchange/report.go", `if rest == nil {`, `if true {`,
			"members that go on after the answer are not on record",
			inExchange, "TestLateMembersAreOnRecord",
		},
		{
			"internal/delivery/journal.go", `Took: took, Made: true}`, `Took: took, Made: false}`,
			"attempts that were made are not counted",
			inExchange, "TestLogCountsTheAttemptsThatWereMade",
		},
		{
			"internal/delivery/send.go", `r.journal.unattempted(c.Name, failure)` + "\n\t\treturn", `return`,
			"a member that was refused is not on record",
			inExchange, "TestEveryMembersOutcomeIsOnRecord",
		},
		{
			"internal/exchange/operator.go", `e.test = true`, `e.test = false`,
			"an operator's test is on record as a caller's dispatch",
			inExchange, "TestSend",
		},
		{
			"targets/learn.go", `if current != nil && current.Thumbprint != "" && current.Thumbprint != t.Thumbprint {`, `if false {`,
			"a registration that brings another key for a known target is not on record as such",
			inTargets, "TestKeyChangeAudited",
		},
		{
			"targets/modify.go", `if before != "" && before != t.Thumbprint {`, `if false {`,
			"a modification that brings another key is not on record as such",
			inTargets, "TestKeyChangeAudited|TestModifyAppliesEveryMember",
		},
	}},

	{"No secrets in logs, records and errors", []mutation{
		{
			"internal/exchange/report.go", `Token: x.Hash.Of("token", e.token)`, `Token: e.token`,
			"tokens are in logs and records",
			inExchange, "TestRecordOfEveryOutcome",
		},
		{
			"internal/exchange/report.go", `User: x.Hash.Of("user", d.Username())`, `User: d.Username()`,
			"names of users are in records",
			inExchange, "TestRecordOfEveryOutcome",
		},
		{
			"internal/exchange/exchange.go", `return x.Hash.Of("target", id)`, `return id`,
			"ids of targets are in logs and records",
			inExchange, "TestRecordOfEveryOutcome|TestModifyTarget",
		},
		{
			"internal/delivery/send.go", "defer catchPanic(c.Name, &err)\n\t\treturn",
			`defer func() { if p := recover(); p != nil { err = dispatchers.Fail(dispatchers.Broken, "panic", "%v", p) } }(); return`,
			"what a guest module panicked with is shown",
			inExchange, "TestPanicsAreNotShown",
		},
		{
			"internal/exchange/report.go", "\t\treturn otherwise\n", "\t\treturn result\n",
			"text of nevisFIDO's is a label and in the log",
			inExchange, "TestDeclined|TestRecordOfEveryOutcome",
		},
		{
			"encrypt/reason.go", `if name == "" || len(name) > 24 {`, `if name == "" {`,
			"an error quotes what stands where a name belongs, such as key material",
			inEncrypt, "TestKeyErrorsHoldNoKeyMaterial",
		},
	}},

	{"Deadlines", []mutation{
		{
			"internal/delivery/delivery.go", `context.WithoutCancel(r.dispatch.HTTP.Context()), r.courier.Deadline)`, `context.WithoutCancel(r.dispatch.HTTP.Context()), 10*r.courier.Deadline)`,
			"a delivery takes longer than deadline",
			inExchange, "TestDeadlineHoldsForAGuestThatIsPatient",
		},
		{
			"internal/delivery/delivery.go", `context.WithoutCancel(r.dispatch.HTTP.Context()), r.courier.Deadline)`, `r.dispatch.HTTP.Context(), r.courier.Deadline)`,
			"a caller that leaves ends a delivery whose token nevisFIDO has made",
			inExchange, "TestClientGone",
		},
		{
			"internal/exchange/change.go", `context.WithTimeout(ctx, x.Deadline)`, `context.WithTimeout(ctx, targets.ChangeTime)`,
			"a store that hangs holds a change up",
			inExchange, "TestMarkingHasAnEnd|TestWaitingForAnotherChangeHasAnEnd",
		},
		{
			"internal/delivery/send.go", `ok && time.Until(deadline) <= wait {`, `ok && false && time.Until(deadline) <= wait {`,
			"the caller waits for an attempt that cannot be made in time",
			inExchange, "TestAttempts|TestDeadlineHoldsForAGuestThatIsPatient",
		},
	}},

	{"Blocked targets", []mutation{
		{
			"internal/exchange/dispatch.go", `target.State() == targets.Blocked {`, `false {`,
			"a message goes to a target that an operator has blocked",
			inExchange, "TestBlockedTarget",
		},
		{
			"targets/target.go", `case !t.Blocked.IsZero():`, `case false:`,
			"a target that is blocked is active",
			inTargets, "TestBlockStays",
		},
		{
			"targets/learn.go", `next.Blocked = current.blocked()`, `next.Blocked = time.Time{}`,
			"who registers a blocked target anew lifts the block",
			inTargets, "TestBlockStays",
		},
		{
			"targets/directory.go", `created.Blocked = t.blocked()`, `created.Blocked = time.Time{}`,
			"who registers a blocked target anew while the store fails lifts the block",
			inTargets, "TestBlockStays|TestBlockDuringAChange|TestUnsyncedTargetServes",
		},
		{
			"targets/directory.go", `left.Blocked = since`, `_ = since`,
			"a modification that cannot be read lifts the block",
			inTargets, "TestBlockStays",
		},
		{
			"targets/codec.go", `needs = blockedSchema`, `needs = plainSchema`,
			"an older release that does not know blocks sends to a blocked target",
			inTargets, "TestSchemaOfABlockedRecord",
		},
	}},

	{"Addresses", []mutation{
		{
			"internal/exchange/admit.go", `if failure := x.courier.Quarantined(*d); failure != nil {`, `if failure := x.courier.Quarantined(*d); false {`,
			"nevisFIDO makes tokens for an address that is gone",
			inExchange, "TestQuarantine",
		},
		{
			"internal/delivery/compile.go", `return quarantined(r.dispatch.Target, to)`, `return nil`,
			"a member of a composite sends to an address that is gone",
			inExchange, "TestMemberThatExpires",
		},
		{
			"targets/learn.go", `current.Address != t.Address || `, ``,
			"what the channel said of the old address puts the new one in quarantine",
			inExchange, "TestQuarantineOfANewerAddress",
		},
		{
			"internal/delivery/recipient.go", ` && r.courier.reaches(c, r.dispatch.Target.Dispatcher):`, `:`,
			"a push token is used as a mail address",
			inExchange, "TestAddress",
		},
		{
			"internal/delivery/recipient.go", `case strings.ContainsFunc(to.address, c.forbids):`, `case false:`,
			"an address with line breaks reaches the channel",
			inExchange, "TestControlCharactersInTheTargetsAddress",
		},
		{
			"internal/delivery/recipient.go", `case len(dispatchers.Template(to.address).Placeholders()) > 0:`, `case false:`,
			"a placeholder without a value is an address",
			inExchange, "TestAddress",
		},
		{
			"internal/delivery/notice.go", `if failure == nil && to.address != "" && strings.EqualFold(to.address, target.Address) {`, `if false && strings.EqualFold(to.address, target.Address) {`,
			"the notice of a changed key goes to the target that an attacker has changed",
			"./caddymodule", "TestWebhookHearsOfChangedKeys|TestMailTellsOfChangedKeys",
		},
	}},
}
