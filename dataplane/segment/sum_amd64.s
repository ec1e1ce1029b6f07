#include "textflag.h"

// Every 64-bit lane x adds x itself to one accumulator, which may wrap, and its
// upper half to another, which cannot. The sum of the lower halves is the first
// less 2^32 times the second: exact, because it is below 2^64. So a vector
// costs two additions and a shift, and nothing waits for a carry.
//
//	Y0 Y1  the block
//	Y2 Y3  the wrapping sums
//	Y4 Y5  the sums of the upper halves

#define CLEAR \
	VPXOR Y2, Y2, Y2 \
	VPXOR Y3, Y3, Y3 \
	VPXOR Y4, Y4, Y4 \
	VPXOR Y5, Y5, Y5

#define ADD \
	VPADDQ Y0, Y2, Y2 \
	VPADDQ Y1, Y3, Y3 \
	VPSRLQ $32, Y0, Y0 \
	VPSRLQ $32, Y1, Y1 \
	VPADDQ Y0, Y4, Y4 \
	VPADDQ Y1, Y5, Y5

// TOTAL leaves the sum of all 32-bit words in AX.
#define TOTAL \
	VPADDQ       Y3, Y2, Y2 \
	VPADDQ       Y5, Y4, Y4 \
	VPSLLQ       $32, Y4, Y0 \
	VPSUBQ       Y0, Y2, Y2 \
	VPADDQ       Y4, Y2, Y2 \
	VEXTRACTI128 $1, Y2, X0 \
	VPADDQ       X0, X2, X2 \
	VPSRLDQ      $8, X2, X0 \
	VPADDQ       X0, X2, X2 \
	VMOVQ        X2, AX \
	VZEROUPPER

// func sumAVX2(b *byte, n int) uint64
TEXT ·sumAVX2(SB), NOSPLIT, $0-24
	MOVQ b+0(FP), SI
	MOVQ n+8(FP), CX
	CLEAR

next:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	ADD
	ADDQ $64, SI
	DECQ CX
	JNZ  next
	TOTAL
	MOVQ AX, ret+16(FP)
	RET

// func copySumAVX2(dst, src *byte, n int) uint64
TEXT ·copySumAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	CLEAR

next:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU Y0, (DI)
	VMOVDQU Y1, 32(DI)
	ADD
	ADDQ $64, SI
	ADDQ $64, DI
	DECQ CX
	JNZ  next
	TOTAL
	MOVQ AX, ret+24(FP)
	RET
