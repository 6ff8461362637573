package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// few is how many targets a small store has, half of each kind.
const few = 1000

// A lab has the servers that are measured, and what they ask.
type lab struct {
	options
	folder   string // of everything on disk
	upstream net.Listener
	pushes   *fcm
	servers  map[string]*server
}

func newLab(ctx context.Context, o options) (_ *lab, err error) {
	l := &lab{options: o, servers: map[string]*server{}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.folder, err = os.MkdirTemp("", "oob-load-"); err != nil {
		return nil, err
	}
	if l.upstream, err = startUpstream(); err != nil {
		return nil, err
	}
	l.pushes, err = startFCM(ctx, l.folder)
	return l, err
}

func (l *lab) close() {
	for _, s := range l.servers {
		s.stop()
	}
	if l.upstream != nil {
		_ = l.upstream.Close()
	}
	_ = os.RemoveAll(l.folder)
}

func (l *lab) folderOf(name string) string { return filepath.Join(l.folder, name) }

// keep is for what starts a server.
func (l *lab) keep(name string, s *server, err error) error {
	if err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	l.servers[name] = s
	return nil
}

func (l *lab) startBare(ctx context.Context, name string) error {
	s, err := startCaddy(ctx, l.folderOf(name), l.caddy, site{upstream: l.upstream.Addr().String()})
	return l.keep(name, s, err)
}

// startProduct starts a product whose store, by an option of its own or as it is by
// default, holds the targets.
func (l *lab) startProduct(ctx context.Context, name, binary, store string, targets []byte) error {
	folder := l.folderOf(name)
	s := site{productHandler(folder, store, l.pushes), l.upstream.Addr().String()}
	if err := importTargets(ctx, folder, binary, s, targets); err != nil {
		return fmt.Errorf("filling the store of %s: %w", name, err)
	}
	server, err := startCaddy(ctx, folder, binary, s)
	return l.keep(name, server, err)
}

// startAll starts what the rows of the table are measured on.
func (l *lab) startAll(ctx context.Context, w works, targets []byte) error {
	for _, name := range []string{bareA, bareB} {
		if err := l.startBare(ctx, name); err != nil {
			return err
		}
	}
	for name, binary := range map[string]string{product: l.caddy, productOld: l.old} {
		if binary == "" {
			continue
		}
		if err := l.startProduct(ctx, name, binary, "", targets); err != nil {
			return err
		}
		age(l.servers[name], l.options, w.clear, w.sealed)
	}
	binary, err := exec.LookPath(l.gorush)
	if err != nil {
		fmt.Printf("FCM: no gorush to compare with (build github.com/appleboy/gorush, and name it with -gorush): %v\n", err)
		return nil
	}
	s, err := startGorush(ctx, l.folderOf(gorush), binary, l.pushes)
	return l.keep(gorush, s, err)
}

// memory measures what a dispatch takes that hangs at nevisFIDO, above a request
// through bare Caddy that does. Its servers have done nothing before, so that
// none has memory left over.
func (l *lab) memory(ctx context.Context, targets []byte) error {
	w := worksOn(few / 2).sealed
	if err := l.startBare(ctx, bareA+hangingSuffix); err != nil {
		return err
	}
	bare, err := l.servers[bareA+hangingSuffix].whileHanging(w)
	if err != nil {
		return err
	}
	stores := []string{"files", "Redis"}
	if _, err := exec.LookPath(redisServer); err != nil {
		fmt.Println("memory with Redis: no redis-server")
		stores = stores[:1]
	}
	for _, kind := range stores {
		name, store := product+hangingSuffix, ""
		if kind == "Redis" {
			s, err := startRedis(ctx, l.folderOf(redisServer))
			if err := l.keep(redisServer, s, err); err != nil {
				return err
			}
			name, store = name+"-redis", "store redis redis://"+s.address
		}
		if err := l.startProduct(ctx, name, l.caddy, store, targets); err != nil {
			return err
		}
		ours, err := l.servers[name].whileHanging(w)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		figure("memory of a hanging dispatch above a bare one, "+kind+", KiB", (ours-bare)/1024, 64)
	}
	return nil
}
