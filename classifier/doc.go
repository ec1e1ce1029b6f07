// Package classifier compiles a Policy into an immutable Table that says which
// exit a packet takes.
//
// A Policy is one first-match list: what stands first wins, and every way to
// write policy (rules, Route lines, AllowedIPs, the default) is brought into
// that one order by Policy.Sort. Compile never changes the policy it is given
// and keeps it, so that nobody may change it afterwards. A Table is safe for
// any number of readers; to change policy, compile another and swap the
// pointer. Lookup allocates nothing and holds no lock. Explain asks the same
// Table as Lookup, and tells what lost and by which field. What is learnt of
// single addresses later is in Tags, which outlives the tables that share it.
//
// Compiling goes in stages, a file or two each:
//
//  1. side.go: the prefixes and named sets of an entry become spans of addresses.
//  2. draw.go, ports.go: each combination of an entry's lists becomes a box, an
//     interval in each dimension; lists too long for that become sets of bits.
//  3. sweep.go, build.go: boxes are split by one dimension after another.
//  4. leaf.go, packed.go: what is not split any more is packed into leaves.
//
// plane.go is the way back, from a packet to the first entry that matches it.
//
// That it is right rests on an oracle over net/netip that shares no code with
// it, on the faults of MUTATIONS.md, which the tests find, and on Verify, which
// holds each new table to the policy as written before it is used.
package classifier
