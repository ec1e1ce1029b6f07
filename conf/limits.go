package conf

// Bounds and defaults of [limits]. A flow costs about 100 bytes, and the flow
// table numbers them with 24 bits.
const (
	minFlows      = 1024
	maxFlows      = 1<<24 - 1
	defaultFlows  = 262144
	enoughPerHost = 65536 // by default one host may have as many flows as its own ports
)

func defaultLimits() Limits {
	return Limits{Flows: defaultFlows, FlowsPerHost: flowsPerHost(defaultFlows)}
}

// flowsPerHost is the default share of one host: a quarter of all flows, at
// least 65536 where there are as many.
func flowsPerHost(flows int) int { return min(flows, max(flows/4, enoughPerHost)) }

// limits reads [limits].
func (l *loader) limits(t *table, m *Limits) {
	m.Flows = int(t.number("flows", defaultFlows, minFlows, maxFlows))
	m.FlowsPerHost = int(t.number("flows_per_host", int64(flowsPerHost(m.Flows)), 1, int64(m.Flows)))
	m.NewFlowsPerHost = int(t.number("new_flows_per_host", 0, 0, maxFlows))
	t.unknown()
}
