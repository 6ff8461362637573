package redisstore

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

// CheckOptions implements dispatchers.OptionChecker.
func (s *Store) CheckOptions() error {
	o := *s
	o.KeyPrefix = cmp.Or(s.KeyPrefix, defaultPrefix)
	if err := o.check(); err != nil {
		return err
	}
	if err := s.checkAddresses(); err != nil {
		return err
	}
	for option, text := range map[string]string{
		"username": s.Username, "password": s.Password, "sentinel_username": s.SentinelUsername,
		"sentinel_password": s.SentinelPassword, "server_name": s.ServerName,
	} {
		if text == "" {
			continue
		}
		if err := placeholder.Check(option, text, nil); err != nil {
			return err
		}
	}
	if len(s.Keys) == 0 && s.AcceptUnsealed {
		return errors.New("accept_unsealed has no meaning without seal: remove it, or name the file of a key")
	}
	return nil
}

func (s *Store) checkAddresses() error {
	if err := s.checkNumber(); err != nil {
		return err
	}
	encrypted := false
	for i, text := range s.Addresses {
		encrypted = encrypted || !strings.HasPrefix(text, "redis:") && !strings.HasPrefix(text, "unix:") // or not known yet
		err := placeholder.Check(fmt.Sprintf("address %d", i+1), text, func(value string) error {
			_, err := parseAddress(value, s.SentinelMaster != "")
			return err
		})
		if err != nil {
			return err
		}
	}
	if !encrypted && s.wantsTLS() {
		return errWithoutTLS
	}
	return nil
}

// Interface guard
var _ dispatchers.OptionChecker = (*Store)(nil)
