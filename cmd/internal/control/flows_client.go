package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Flows asks the daemon for flows and calls f with each as it comes, until f
// fails; f may keep it. More says how many the daemon left out for the limit.
// After an error f may have seen some of the flows.
func (c *Client) Flows(ctx context.Context, q FlowsRequest, f func(*Flow) error) (more int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(flowsPause, cancel)
	defer silence.Stop()
	res, err := c.send(ctx, http.MethodPost, "/v1/flows", q)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if text := res.Header.Get(moreHeader); text != "" {
		if more, err = strconv.Atoi(text); err != nil {
			return 0, fmt.Errorf("the daemon's answer has %s %q", moreHeader, text)
		}
	}
	for flows := json.NewDecoder(impatient{res.Body, silence}); ; {
		w := new(Flow)
		switch err := flows.Decode(w); {
		case err == io.EOF:
			return more, nil
		case err != nil:
			return more, brokenOff(err)
		}
		if err := f(w); err != nil {
			return more, err
		}
	}
}

// DropFlows has the daemon forget flows and returns how many they were.
func (c *Client) DropFlows(ctx context.Context, q DropRequest) (int, error) {
	var d Dropped
	err := c.do(ctx, http.MethodPost, "/v1/flows/drop", q, &d, flowsPause)
	return d.Flows, err
}

// An impatient reader lets the timer run while it waits, not while its caller
// is busy with what came.
type impatient struct {
	io.Reader
	silence *time.Timer
}

func (r impatient) Read(b []byte) (int, error) {
	r.silence.Reset(flowsPause)
	defer r.silence.Stop()
	return r.Reader.Read(b)
}
