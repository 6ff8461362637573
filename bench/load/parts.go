package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/qr"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// parts measures what a dispatch consists of against what it cannot go below,
// in processor time of this process. sealedLink is what such a dispatch cost above
// bare Caddy, in µs.
func parts(ctx context.Context, folder string, sealedLink float64) error {
	fmt.Printf("\n%-64s %10s\n", "", "ratio")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	sealed, err := encrypt.ParseKey(jwkOf(key.N), encrypt.Policy{})
	if err != nil {
		return err
	}
	message, contentKey := make([]byte, 300), make([]byte, 64)
	oaep := func() { _, _ = rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, contentKey, nil) }
	seal := func() { _, _ = sealed.Seal(message) }
	figure("processor time of a sealed link above bare Caddy, × OAEP", sealedLink*1000/cost(oaep), 4)
	figure("seal for RSA-2048, key parsed, × OAEP", ratio(seal, oaep), 1.35)
	if err := manyKeys(key.N, message); err != nil {
		return err
	}
	return pictures(ctx, folder)
}

func figure(name string, value, goal float64) {
	fmt.Printf("%-64s %10s\n", name, atMost([]float64{value}, goal))
}

// ratio is the median of several, each of which measures both.
func ratio(one, other func()) float64 {
	var all []float64
	for range 9 {
		all = append(all, cost(one)/cost(other))
	}
	return median(all)
}

// cost is the processor time of one call, in ns.
func cost(call func()) float64 {
	const length = 100 * time.Millisecond
	n, before := 0, cpuTime()
	for cpuTime()-before < length {
		call()
		n++
	}
	return float64(cpuTime()-before) / float64(n)
}

func cpuTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func jwkOf(modulus *big.Int) []byte {
	return fmt.Appendf(nil, `{"kty":"RSA","e":"AQAB","n":%q}`, encode(modulus.Bytes()))
}

// activeDevices is how many keys should cost no more than one that is always
// used.
const activeDevices = 100_000

// manyKeys measures a directory of active devices. Their keys are numbers of
// which nobody knows the factors.
func manyKeys(modulus *big.Int, message []byte) error {
	var all []*targets.Target
	next, two := new(big.Int).Set(modulus), big.NewInt(2)
	for len(all) < activeDevices {
		next.Add(next, two)
		if key, err := encrypt.ParseKey(jwkOf(next), encrypt.Policy{}); err == nil {
			all = append(all, &targets.Target{EncryptionKey: key.JWK(), Thumbprint: key.Thumbprint()})
		}
	}
	before := heap()
	d := new(targets.Directory)
	for _, t := range all {
		if _, err := d.Key(t); err != nil {
			return err
		}
	}
	used := heap() - before
	seal := func(t *targets.Target) func() {
		return func() {
			if key, err := d.Key(t); err == nil {
				_, _ = key.Seal(message)
			}
		}
	}
	figure("seal for any of 100,000 devices, × always the same", ratio(func() { seal(all[mathrand.IntN(len(all))])() }, seal(all[0])), 1.1)
	figure("memory of the keys of 100,000 devices, MB", float64(used)/1e6, 80)
	return nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

//go:embed qrencode.c.txt
var qrencode []byte

// pictures measures QR codes against libqrencode, at the same level and size.
func pictures(ctx context.Context, folder string) error {
	peer, err := buildPeer(ctx, folder)
	if err != nil {
		fmt.Printf("QR codes: no libqrencode to compare with (install libqrencode-dev, libpng-dev and gcc): %v\n", err)
	}
	for _, n := range []int{1042, 1300, 2600} {
		content := encode(random(n))[:n]
		o := qr.Options{Level: qr.LevelL}
		if o.Size, err = qr.Smallest(content, o); err != nil {
			return err
		}
		o.Size = min(o.Size*2, qr.MaxSize)
		draw := func() { _, _ = qr.PNG(ctx, content, o) }
		draw()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const times = 20
		for range times {
			draw()
		}
		runtime.ReadMemStats(&after)
		name := fmt.Sprintf("QR code of %d bytes", n)
		figure(name+", allocated KB", float64(after.TotalAlloc-before.TotalAlloc)/times/1000, 100)
		figure(name+", allocations", float64(after.Mallocs-before.Mallocs)/times, 60)
		if peer == "" {
			continue
		}
		var all []float64
		for range 5 {
			text, err := exec.CommandContext(ctx, peer, strconv.Itoa(n), "20").Output()
			if err != nil {
				return fmt.Errorf("libqrencode: %w", err)
			}
			theirs, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
			if err != nil {
				return err
			}
			all = append(all, cost(draw)/theirs)
		}
		figure(name+", × libqrencode", median(all), 0.25)
	}
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// buildPeer returns the program that draws with libqrencode.
func buildPeer(ctx context.Context, folder string) (string, error) {
	source, program := filepath.Join(folder, "qrencode.c"), filepath.Join(folder, "qrencode")
	if err := os.WriteFile(source, qrencode, 0o600); err != nil {
		return "", err
	}
	compiler := cmp.Or(os.Getenv("CC"), "cc")
	if text, err := exec.CommandContext(ctx, compiler, "-O2", "-o", program, source, "-lqrencode", "-lpng").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, lastLines(string(text)))
	}
	return program, nil
}
