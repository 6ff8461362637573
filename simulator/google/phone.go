package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Message is a delivered push message, as the phone and a curious third party
// see it.
type Message struct {
	Name         string // projects/<project>/messages/<id>
	Data         map[string]string
	Notification Notification
	Android      Android
	APNS         APNS
	JSON         []byte // the whole message object
}

// Notification is what the phone shows.
type Notification struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// Android is the part of a message for Android phones.
type Android struct {
	Priority     string `json:"priority"`
	TTL          string `json:"ttl"`
	CollapseKey  string `json:"collapse_key"`
	Notification struct {
		Tag string `json:"tag"`
	} `json:"notification"`
}

// APNS is the part of a message for Apple's phones.
type APNS struct {
	Headers map[string]string `json:"headers"`
	Payload struct {
		APS struct {
			Alert          Notification `json:"alert"`
			MutableContent int          `json:"mutable-content"`
		} `json:"aps"`
	} `json:"payload"`
}

// newMessage reads a message that was checked.
func newMessage(name string, tree map[string]any) Message {
	m := Message{Name: name, JSON: encode(tree)}
	var content struct {
		Data         map[string]string
		Notification Notification
		Android      Android
		APNS         APNS
	}
	_ = json.Unmarshal(m.JSON, &content) // what does not fit stays empty
	m.Data, m.Notification, m.Android, m.APNS = content.Data, content.Notification, content.Android, content.APNS
	return m
}

// inbox is what was delivered to one registration token.
type inbox struct {
	gone    bool
	unread  []Message
	arrived chan struct{} // closed at the next delivery
}

const keptMessages = 64

// Register returns the registration token of a phone that installs the app.
// Sends to any other token are refused.
func (s *Server) Register() string {
	token := strings.ToLower(random()[:22]) + ":APA91b" + random()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inboxes[token] = &inbox{arrived: make(chan struct{})}
	return token
}

// Unregister removes the app from the phone.
func (s *Server) Unregister(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if box, ok := s.inboxes[token]; ok {
		box.gone = true
	}
}

func (s *Server) registered(token string) (known, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	box, ok := s.inboxes[token]
	return ok, ok && box.gone
}

func (s *Server) deliver(token string, m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	box, ok := s.inboxes[token]
	if !ok {
		return
	}
	if len(box.unread) == keptMessages {
		box.unread = box.unread[1:]
	}
	box.unread = append(box.unread, m)
	close(box.arrived)
	box.arrived = make(chan struct{})
}

// Unread returns the messages that were delivered to a token and not yet
// taken by Wait, oldest first, at most 64.
func (s *Server) Unread(token string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	box, ok := s.inboxes[token]
	if !ok {
		return nil
	}
	return append([]Message(nil), box.unread...)
}

// Wait takes the oldest unread message, or waits for the next.
func (s *Server) Wait(ctx context.Context, token string) (Message, error) {
	for {
		m, arrived, err := s.take(token)
		if err != nil || arrived == nil {
			return m, err
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Message{}, fmt.Errorf("waiting for a push message: %w", ctx.Err())
		}
	}
}

func (s *Server) take(token string) (Message, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	box, ok := s.inboxes[token]
	if !ok {
		return Message{}, nil, errors.New("no phone has this registration token")
	}
	if len(box.unread) == 0 {
		return Message{}, box.arrived, nil
	}
	m := box.unread[0]
	box.unread = box.unread[1:]
	return m, nil, nil
}
