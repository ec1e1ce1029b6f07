package packet

// NewRandom is for the tests from outside.
var NewRandom = newRandom
