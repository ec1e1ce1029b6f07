// Package control is how the verbs speak to the running daemon: HTTP with JSON
// bodies over the unix socket control.sock in the run directory.
//
//	GET  /v1/status         -> Status
//	POST /v1/explain        Query -> Answer
//	POST /v1/explain/batch  Batch -> an Answer for each Query
//	GET  /v1/flows          -> every Flow, one a line
//	POST /v1/flows          FlowsRequest -> the same of those that it selects
//	POST /v1/flows/drop     DropRequest -> Dropped
//	POST /v1/reload         ReloadRequest -> Reloaded
//	POST /v1/stop           StopRequest -> {}, once the host is as it was before
//
// An answer other than 2xx carries {"error": "..."} in words for the operator.
// The socket has mode 0660; beyond that the server asks the kernel who called
// (SO_PEERCRED, unix(7)) and serves uid 0, its own uid and members of its own
// group. Requests are at most 64 KiB, decoded strictly (an unknown field is
// refused), and every read and write has a deadline. Flows come in chunks as
// HTTP has them: without the last chunk some are missing.
//
// No type of this package can hold a private or preshared key.
package control
