package segment

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

// sumBlocks sums whole blocks of b.
func sumBlocks(b []byte) uint64 {
	if hasAVX2 && len(b) > 0 {
		return sumAVX2(&b[0], len(b)/block)
	}
	return sumBlocksPortable(b)
}

// copySumBlocks copies whole blocks of src to dst, which is as long, and sums
// them: one pass, because the bytes are in the registers already.
func copySumBlocks(dst, src []byte) uint64 {
	if hasAVX2 && len(src) > 0 && len(dst) >= len(src) {
		return copySumAVX2(&dst[0], &src[0], len(src)/block)
	}
	copy(dst, src)
	return sumBlocksPortable(src)
}

// sumAVX2 sums n blocks, n > 0, as little-endian 32-bit words.
//
//go:noescape
func sumAVX2(b *byte, n int) uint64

// copySumAVX2 copies n blocks, n > 0, and sums them as sumAVX2 does.
//
//go:noescape
func copySumAVX2(dst, src *byte, n int) uint64
