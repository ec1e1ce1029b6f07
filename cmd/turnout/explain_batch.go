package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"

	"turnout/classifier"
	"turnout/cmd/internal/control"
	"turnout/cmd/internal/flows"
	"turnout/conf"
)

// A batch is what explain was told about many flows.
type batch struct {
	flows, pcap string
	all         bool
}

func (b batch) asked() bool { return b.flows != "" || b.pcap != "" }

// An oracle answers batches: a file's table, or the running router.
type oracle struct {
	lan    []netip.Prefix
	answer func(control.Batch) ([]control.Answer, error)
}

// explainBatch answers for every flow of a file, an object a line.
func explainBatch(e *env, files []string, o *options, b batch) int {
	if b.flows != "" && b.pcap != "" {
		return e.fail("explain", usagef("--flows and --pcap are two questions; ask one at a time"))
	}
	oracle, err := consult(files, o)
	if err != nil {
		return e.fail("explain", err)
	}
	list, err := b.read(e, oracle.lan)
	if err != nil {
		return e.fail("explain", err)
	}
	out := bufio.NewWriterSize(e.stdout, 1<<20)
	if err := answerAll(out, list, b.all, oracle.answer); err != nil {
		return e.fail("explain", err)
	}
	if err := out.Flush(); err != nil {
		return exitFailed // nobody reads standard output any more
	}
	return exitOK
}

// consult finds out who answers.
func consult(files []string, o *options) (oracle, error) {
	if len(files) == 0 {
		c := control.NewClient(o.runDir)
		ask := func(b control.Batch) ([]control.Answer, error) { return c.ExplainAll(context.Background(), b) }
		s, err := c.Status(context.Background())
		var lan []netip.Prefix
		for _, l := range s.LAN {
			lan = append(lan, l.Prefixes...)
		}
		return oracle{lan, ask}, err
	}
	cfg, err := load(files[0], o, conf.ForExplain)
	if err != nil {
		return oracle{}, err
	}
	s, err := source(cfg)
	if err != nil {
		return oracle{}, err
	}
	s.Near = classifier.NewNear(s.Table)
	return oracle{s.LAN, func(b control.Batch) ([]control.Answer, error) { return s.ExplainAll(b), nil }}, nil
}

// read gives the flows of the file; "-" is standard input.
func (b batch) read(e *env, lan []netip.Prefix) ([]control.Query, error) {
	name := b.flows + b.pcap
	in := e.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usageError{err}
		}
		defer f.Close()
		in = f
	}
	if b.flows != "" {
		list, err := flows.ReadCSV(name, in)
		if err != nil {
			err = usageError{err}
		}
		return list, err
	}
	list, skipped, err := flows.ReadCapture(in, lan)
	if err != nil {
		return nil, usagef("%s: %w", name, err)
	}
	if skipped != (flows.Skipped{}) {
		fmt.Fprintf(e.stderr, "%s: passed over %d packets that are not IP, %d malformed, %d from outside the LAN, %d that start no flow\n",
			name, skipped.NotIP, skipped.Malformed, skipped.Answers, skipped.NoFlow)
	}
	return list, nil
}

// answerAll writes the answers in the order of the flows; as many are worked
// out at once as there are processors.
func answerAll(out io.Writer, list []control.Query, all bool, ask func(control.Batch) ([]control.Answer, error)) error {
	type job struct {
		queries []control.Query
		text    []byte
		err     error
		done    chan struct{}
	}
	var jobs []*job
	for chunk := range slices.Chunk(list, control.MaxBatch) {
		jobs = append(jobs, &job{queries: chunk, done: make(chan struct{})})
	}
	workers := runtime.GOMAXPROCS(0)
	ahead := make(chan struct{}, 4*workers) // answers wait in memory no further than this
	work, stop := make(chan *job), make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	for range workers {
		wg.Go(func() {
			for j := range work {
				j.text, j.err = answerSome(j.queries, all, ask)
				close(j.done)
			}
		})
	}
	wg.Go(func() {
		defer close(work)
		for _, j := range jobs {
			select {
			case ahead <- struct{}{}:
				work <- j
			case <-stop:
				return
			}
		}
	})
	for i, j := range jobs {
		<-j.done
		if j.err != nil {
			return j.err
		}
		if _, err := out.Write(j.text); err != nil {
			return fmt.Errorf("writing the answers: %w", err)
		}
		jobs[i] = nil
		<-ahead
	}
	return nil
}

// answerSome gives the lines of one batch.
func answerSome(list []control.Query, all bool, ask func(control.Batch) ([]control.Answer, error)) ([]byte, error) {
	answers, err := ask(control.Batch{Queries: list, All: all})
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for i := range answers {
		if err := enc.Encode(&answers[i]); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}
