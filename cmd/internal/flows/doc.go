// Package flows reads what to ask the policy about: many flows at once, from a
// CSV file or from a capture of packets. Both become control.Query, the one
// form that a file and a running daemon are asked in.
package flows
