// The hub that many Go services have: net/http, one goroutine and one buffered channel for each client.
//
// GET /events/{topic} follows, POST /events/{topic} publishes the body to all who follow. A client whose channel is
// full misses the event; it is the usual answer to slow clients, and the load generator would count it as lost.
//
//	go build -o hub hub.go && ./hub --listen 127.0.0.1:0 --ready-file FILE
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// Events that may wait for one client.
const clientBuffer = 256

// The largest event that is taken.
const eventBytesMax = 1 << 20

type client chan []byte

type hub struct {
	mutex    sync.RWMutex
	topics   map[string]map[client]struct{}
	sequence atomic.Uint64
}

func (h *hub) join(topic string) client {
	c := make(client, clientBuffer)
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.topics[topic] == nil {
		h.topics[topic] = make(map[client]struct{})
	}
	h.topics[topic][c] = struct{}{}
	return c
}

func (h *hub) leave(topic string, c client) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.topics[topic], c)
	if len(h.topics[topic]) == 0 {
		delete(h.topics, topic)
	}
}

func (h *hub) publish(topic string, data []byte) {
	event := []byte(fmt.Sprintf("id: %d\ndata: %s\n\n", h.sequence.Add(1), data))
	h.mutex.RLock()
	defer h.mutex.RUnlock()
	for c := range h.topics[topic] {
		select {
		case c <- event:
		default:
		}
	}
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	topic := strings.TrimPrefix(r.URL.Path, "/events/")
	switch {
	case topic == r.URL.Path:
		http.NotFound(w, r)
	case r.Method == http.MethodPost:
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, eventBytesMax))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h.publish(topic, data)
		io.WriteString(w, "{}")
	default:
		h.follow(topic, w, r)
	}
}

func (h *hub) follow(topic string, w http.ResponseWriter, r *http.Request) {
	flusher := w.(http.Flusher)
	c := h.join(topic)
	defer h.leave(topic, c)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	flusher.Flush()
	for {
		select {
		case event := <-c:
			if _, err := w.Write(event); err != nil {
				return
			}
			flusher.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "where to listen")
	ready := flag.String("ready-file", "", "written once it listens")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	if *ready != "" {
		text := fmt.Sprintf("{\"listen\":[%q]}\n", listener.Addr())
		if err := os.WriteFile(*ready+".part", []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
		// Renamed into place, so that nobody reads half of it.
		if err := os.Rename(*ready+".part", *ready); err != nil {
			log.Fatal(err)
		}
	}
	log.Fatal(http.Serve(listener, &hub{topics: make(map[string]map[client]struct{})}))
}
