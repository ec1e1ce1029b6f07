// Package lint reads a policy and says what its author probably did not mean:
// lines that no packet reaches, overlaps that only the order decides, lines
// that match nothing, and routes that WrapGuard's own code answers
// differently from its examples.
//
// It looks at the policy as written, not at a compiled table, and changes
// nothing. It is exact where it can be so in a few steps and silent elsewhere,
// and does a bounded number of steps in all, whatever the policy.
package lint
