// Package bench measures the parts of the hot path, and beside them, in the
// same run and interleaved, what this machine does at its best: following
// pointers through each level of its memory, and sealing a packet, which is
// the ceiling of every WireGuard router. A figure means something only as a
// ratio to those; what was 60 ns on one machine on one evening is 90 ns on
// another. Times are of the processor, not of the clock on the wall, and the
// median of many short rounds, so that a busy machine can be measured too.
//
// Recorded runs are in results, each with the command that made it.
package bench
