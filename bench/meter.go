package bench

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A figure is one thing that is measured: run does it n times.
type figure struct {
	name string
	n    int
	run  func(n int)

	target float64  // nanoseconds on the machine that targets were set on; 0: none
	like   []string // the references by which this machine's target follows from it

	took []float64 // nanoseconds each, by round
}

// measure runs every figure once in each round, one after the other, so that
// what disturbs the machine for a while disturbs all alike.
func measure(figures []*figure, rounds int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for round := range rounds + 1 {
		for _, f := range figures {
			runtime.GC()
			f.run(f.n / 4) // what the others left in the caches is not this one's
			begun := processorTime()
			f.run(f.n)
			took := float64(processorTime()-begun) / float64(f.n)
			if round > 0 { // the first warms up
				f.took = append(f.took, took)
			}
		}
	}
}

// processorTime is what this thread has used of its processor.
func processorTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(fmt.Sprintf("reading the thread's clock: %v", err)) // Linux has had it since 2.6.12
	}
	return time.Duration(t.Nano())
}

// median returns the middle of the rounds.
func (f *figure) median() float64 {
	s := slices.Sorted(slices.Values(f.took))
	return s[len(s)/2]
}

// spread returns what the middle half of the rounds differs by, over the median.
func (f *figure) spread() float64 {
	s := slices.Sorted(slices.Values(f.took))
	return (s[len(s)*3/4] - s[len(s)/4]) / s[len(s)/2]
}
