// Package wgquick takes wg-quick files apart, as wg-quick(8), wg(8) and
// WrapGuard define them: sections, keys and lines, with the values still text.
// What a value means is for the caller, who has the same keys from elsewhere
// too.
//
// Accepted: keys and section names in any letter case, "#" comments on lines of
// their own and behind values, CRLF line ends, a byte order mark. Section
// [Peer] may have Route lines and either section a "# Name = …" comment, which
// belongs to the section in which it stands; directly above a section's header,
// or before the first section, it belongs to that section.
//
// Parse is pure: no file is opened and nothing in a file is ever run. Its
// errors never repeat a value, which may be a private key.
package wgquick
