// Command dashboard has Grafana's own types judge a dashboard: what they do not know, what they miss, and what they read of it.
// A test of the file that we ship: never a part of a product.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// said is what a dashboard says, and what is wrong with it.
type said struct {
	Problems  []string `json:"problems"`
	Title     string   `json:"title"`
	Variables []string `json:"variables"`
	Panels    []panel  `json:"panels"`
}

type panel struct {
	Title   string   `json:"title"`
	Kind    string   `json:"kind"`
	Unit    string   `json:"unit"`
	Queries []string `json:"queries"`
}

func main() {
	if len(os.Args) != 2 {
		log.Fatalf("usage: dashboard FILE")
	}

	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}

	// Without them options of panels and queries are read as anything.
	plugins.RegisterDefaultPlugins()

	out := said{Problems: []string{}, Variables: []string{}, Panels: []panel{}}

	// The strict reader judges, and leaves panels without a fault empty; what is there is read by the ordinary one.
	out.Problems = append(out.Problems, problems((&dashboard.Dashboard{}).UnmarshalJSONStrict(raw))...)

	var read dashboard.Dashboard
	if err := json.Unmarshal(raw, &read); err != nil {
		out.Problems = append(out.Problems, err.Error())
	} else {
		out.Problems = append(out.Problems, problems(read.Validate())...)

		describe(&read, &out)
	}

	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")

	if err := encoder.Encode(out); err != nil {
		log.Fatal(err)
	}
}

// problems are what an error lists: these types return an empty list, which is no nil, for what is well.
func problems(err error) []string {
	if err == nil {
		return nil
	}

	var list cog.BuildErrors
	if !errors.As(err, &list) {
		return []string{err.Error()}
	}

	var found []string
	for _, one := range list {
		found = append(found, one.Error())
	}

	return found
}

func describe(read *dashboard.Dashboard, out *said) {
	if read.Title != nil {
		out.Title = *read.Title
	}

	for _, variable := range read.Templating.List {
		out.Variables = append(out.Variables, variable.Name)
	}

	for _, entry := range read.Panels {
		if entry.Panel == nil {
			out.Problems = append(out.Problems, "a row, which this dashboard has none of")

			continue
		}

		out.Panels = append(out.Panels, described(entry.Panel, out))
	}
}

func described(read *dashboard.Panel, out *said) panel {
	found := panel{Kind: read.Type, Queries: []string{}}
	if read.Title != nil {
		found.Title = *read.Title
	}

	if read.FieldConfig != nil && read.FieldConfig.Defaults.Unit != nil {
		found.Unit = *read.FieldConfig.Defaults.Unit
	}

	for _, target := range read.Targets {
		query, known := target.(*prometheus.Dataquery)
		if !known {
			out.Problems = append(out.Problems, fmt.Sprintf("%s: a target that is no query of Prometheus: %T", found.Title, target))

			continue
		}

		found.Queries = append(found.Queries, query.Expr)
	}

	return found
}
