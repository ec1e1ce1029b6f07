package control

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// moreHeader says how many flows were selected and not sent.
const moreHeader = "Turnout-More"

const (
	// flowsPause is how long the caller may take for the next flowsChunk bytes,
	// and the daemon to begin: somebody may be reading them by the page.
	flowsPause = time.Minute
	flowsChunk = 64 << 10
)

// flows streams the table, a flow a line. There may be a million: none waits
// in memory but those that a limit has chosen.
func (s *Server) flows(w http.ResponseWriter, r *http.Request) {
	var q FlowsRequest
	if r.Method == http.MethodPost && !decode(w, r, &q) {
		return
	}
	if !s.selects(w, q.Filter, q.Validate()) {
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	each := func(f func(Flow) bool) { s.daemon.Flows(q.Filter, f) }
	if q.Limit > 0 {
		chosen := busiest{limit: q.Limit}
		s.daemon.Flows(q.Filter, chosen.add)
		w.Header().Set(moreHeader, strconv.Itoa(chosen.more))
		each = chosen.each
	}
	// The socket's own buffers take the last chunk at once: what breaks off
	// does so at the caller, too.
	out := bufio.NewWriterSize(patient{w, http.NewResponseController(w), s.pause}, flowsChunk)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	each(func(f Flow) bool { return enc.Encode(&f) == nil })
	if out.Flush() != nil {
		panic(http.ErrAbortHandler) // the caller must not take a part for the whole
	}
}

func (s *Server) dropFlows(w http.ResponseWriter, r *http.Request) {
	var q DropRequest
	if !decode(w, r, &q) || !s.selects(w, q.Filter, q.Validate()) {
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.pause))
	reply(w, http.StatusOK, Dropped{s.daemon.DropFlows(q.Filter)})
}

// selects reports whether f can select flows; if not, it has answered.
func (s *Server) selects(w http.ResponseWriter, f Filter, err error) bool {
	if err == nil && f.Tunnel != "" {
		err = f.known(s.daemon.Status().Tunnels)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
	}
	return err == nil
}

// A patient writer gives each write its own time: a long answer is no slow one.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	pause   time.Duration
}

func (p patient) Write(b []byte) (int, error) {
	p.control.SetWriteDeadline(time.Now().Add(p.pause)) // unix sockets always can
	return p.ResponseWriter.Write(b)
}

// busiest keeps the flows with most traffic of any number: a heap whose first
// is the one to give way.
type busiest struct {
	limit int
	list  []Flow
	more  int // that gave way
}

func (b *busiest) Len() int           { return len(b.list) }
func (b *busiest) Less(i, j int) bool { return byTraffic(&b.list[i], &b.list[j]) > 0 }
func (b *busiest) Swap(i, j int)      { b.list[i], b.list[j] = b.list[j], b.list[i] }
func (b *busiest) Push(any)           {} // add fills the list itself
func (b *busiest) Pop() any           { return nil }

func (b *busiest) add(f Flow) bool {
	if len(b.list) < b.limit {
		if b.list = append(b.list, f); len(b.list) == b.limit {
			heap.Init(b)
		}
		return true
	}
	b.more++
	if byTraffic(&f, &b.list[0]) < 0 {
		b.list[0] = f
		heap.Fix(b, 0)
	}
	return true
}

// each gives the flows, the busiest first.
func (b *busiest) each(f func(Flow) bool) {
	slices.SortFunc(b.list, func(x, y Flow) int { return byTraffic(&x, &y) })
	for _, w := range b.list {
		if !f(w) {
			return
		}
	}
}

// byTraffic orders flows: the busier first, of two alike the younger.
func byTraffic(a, b *Flow) int {
	return cmp.Or(
		cmp.Compare(b.BytesOut+b.BytesIn, a.BytesOut+a.BytesIn),
		cmp.Compare(a.Age, b.Age),
		a.From.Compare(b.From), cmp.Compare(a.FromPort, b.FromPort),
		a.To.Compare(b.To), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto),
	)
}
