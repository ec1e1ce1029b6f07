//go:build !amd64

package segment

func sumBlocks(b []byte) uint64 { return sumBlocksPortable(b) }

func copySumBlocks(dst, src []byte) uint64 {
	copy(dst, src)
	return sumBlocksPortable(src)
}
