package bench

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// TestClassifierFigures measures the classifier and writes what it found, when
// TURNOUT_BENCH names the file for it. A figure that misses its target by more
// than a tenth fails; the target is scaled by what the references took.
func TestClassifierFigures(t *testing.T) {
	file := os.Getenv("TURNOUT_BENCH")
	if file == "" {
		t.Log("TURNOUT_BENCH names no file to write figures to")
		return
	}
	refs := references()
	figures := classifierFigures(t)
	measure(append(refs, figures...), 15)
	var out strings.Builder
	fmt.Fprintf(&out, "# The classifier\n\n%s, %d cores, %s, made with\n\n    %s\n\n", processor(), runtime.NumCPU(), runtime.Version(), command())
	fmt.Fprintf(&out, "| reference | ns | there, ns | here/there | spread |\n|---|---|---|---|---|\n")
	for _, f := range refs {
		fmt.Fprintf(&out, "| %s | %.3g | %.4g | %.2f | %.0f %% |\n", f.name, f.median(), f.target, f.median()/f.target, 100*f.spread())
	}
	fmt.Fprintf(&out, "\nTargets are of the machine \"there\", scaled by the references named (their geometric mean).\n\n")
	fmt.Fprintf(&out, "| figure | ns | in L2 chases | in seals | target here, ns | scaled by | of target | spread |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range figures {
		fmt.Fprintf(&out, "| %s | %.4g | %.3g | %.3g |", f.name, f.median(), f.median()/refs[1].median(), f.median()/refs[4].median())
		if f.target == 0 {
			fmt.Fprintf(&out, " | | | %.0f %% |\n", 100*f.spread())
			continue
		}
		target := f.target * scale(refs, f.like)
		fmt.Fprintf(&out, " %.4g | %s | %.2f | %.0f %% |\n", target, strings.Join(f.like, ", "), f.median()/target, 100*f.spread())
		if f.median() > 1.1*target {
			t.Errorf("%s takes %.4g ns, target %.4g", f.name, f.median(), target)
		}
	}
	memory(t, &out)
	t.Log("\n" + out.String())
	if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
		t.Error(err)
	}
}

// memory writes what tables take. It does not depend on the machine.
func memory(t *testing.T, out *strings.Builder) {
	fmt.Fprintf(out, "\n| memory, router | figure | target |\n|---|---|---|\n")
	for _, n := range []int{10_000, 100_000} {
		perRule, allocated := memoryOf(t, n)
		fmt.Fprintf(out, "| table, %d rules | %d bytes a rule | %s |\n", n, perRule, "135 at 100000")
		fmt.Fprintf(out, "| allocated while compiling %d rules | %d MB | %s |\n", n, allocated/1e6, "100 at 100000")
		if perRule > 135 || allocated > 100e6 {
			t.Errorf("%d rules take %d bytes each, and %d to compile", n, perRule, allocated)
		}
	}
}

// scale returns how much slower this machine is than the one that the targets
// are of, by the references named.
func scale(refs []*figure, names []string) float64 {
	log := 0.0
	for _, n := range names {
		for _, f := range refs {
			if f.name == n {
				log += math.Log(f.median() / f.target)
			}
		}
	}
	return math.Exp(log / float64(len(names)))
}

// processor names the machine's processor.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for _, l := range strings.Split(string(b), "\n") {
		if name, ok := strings.CutPrefix(l, "model name"); ok {
			return strings.TrimLeft(name, "\t :")
		}
	}
	return runtime.GOARCH
}

// given returns stand when the variable is set: what it is set to is of one
// machine only.
func given(variable, stand string) string {
	if os.Getenv(variable) == "" {
		return ""
	}
	return stand
}

// command is the one that makes this file again, at the commit it is of.
func command() string {
	at := ""
	if b, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		at = " # at " + strings.TrimSpace(string(b))
	}
	return "TURNOUT_CLASSBENCH=" + given("TURNOUT_CLASSBENCH", "DIR") + " make bench-classifier" + at
}
