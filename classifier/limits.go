package classifier

// limits are what a compilation keeps within: what bounds a table that a slip
// of the pen would make huge, and where one way to say a thing becomes dearer
// than another. Every table is right under any; tests use small ones, to see
// with few lines what else takes thousands.
type limits struct {
	boxes  int // combinations over all entries, 64 bytes each while compiling
	ranges int // a list of more port ranges becomes a set

	// The addresses of an entry become a box for each span, or one box and a
	// set of addresses to look into.
	few      int // up to so many combinations, a box for each
	bigSide  int // spans from which a set is worth its lookup
	bigSides int // so many of those become sets, the largest: each costs a lookup for many packets
	room     int // boxes of entries with many combinations, besides two for each line to read

	// A tree stays within a small multiple of its boxes, whatever they are:
	// where no split helps within that, a leaf is long.
	leaf   int     // a list of so many boxes is not split
	copies float64 // entries that splits may make of a box, on the average
	slack  int     // and besides, of each list
	kept   int     // a split that leaves all but one box in so many to its rest is none
	hide   int     // boxes of a list in which each is compared with each
}

var standard = limits{
	boxes: 1 << 21, ranges: 8,
	few: 64, bigSide: 1024, bigSides: 8, room: 1 << 16,
	leaf: 8, copies: 3, slack: 8, kept: 16, hide: 24,
}

const maxEntries = 1 << 24
