// Package classifier compiles a Policy into an immutable Table that says which
// exit a packet takes.
//
// A Policy is one first-match list: what stands first wins, and every way to
// write policy (rules, Route lines, AllowedIPs, the default) is brought into
// that one order by Policy.Sort. Compile never changes the policy it is given
// and keeps it, so that nobody may change it afterwards. A Table is safe for
// any number of readers; to change policy, compile another and swap the
// pointer. Lookup allocates nothing and holds no lock. Explain asks the same
// Table as Lookup, and tells what lost and by which field.
package classifier
