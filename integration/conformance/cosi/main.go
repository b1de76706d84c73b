// Command cosi serves genuine Talos resources over COSI's genuine state server, on a unix socket, and writes down what is
// in them. A test of our readers: never a part of a product.
//
// Lines on stdin change the state, so that watches can be compared too: "update" and "destroy" do that to one peer status,
// the end of stdin ends the program.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
	"github.com/cosi-project/runtime/pkg/state/protobuf/server"
	"google.golang.org/grpc"
)

// entry is one resource as the other side must see it.
type entry struct {
	Namespace string `json:"namespace"`
	Type      string `json:"type"`
	ID        string `json:"id"`
	Version   string `json:"version"`
	Phase     string `json:"phase"`
	Created   string `json:"created"`
	Spec      any    `json:"spec"`
}

func main() {
	socket := flag.String("socket", "", "unix socket to listen on")
	talosconfig := flag.String("talosconfig", "", "file for a talosconfig that leads to the same state by TLS")
	dump := flag.String("dump", "", "file for what the resources hold, as JSON")
	flag.Parse()

	if err := run(context.Background(), *socket, *talosconfig, *dump); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, socket, talosconfig, dump string) error {
	st := state.WrapCore(namespaced.NewState(inmem.Build))
	resources := all()

	for _, r := range resources {
		if err := st.Create(ctx, r); err != nil {
			return fmt.Errorf("failed to create %s: %w", r.Metadata(), err)
		}
	}

	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}

	outside, creds, err := front(talosconfig)
	if err != nil {
		return err
	}

	if err := writeDown(ctx, st, resources, dump); err != nil {
		return err
	}

	service, apid := grpc.NewServer(), grpc.NewServer(grpc.Creds(creds))
	v1alpha1.RegisterStateServer(service, server.NewState(st))
	v1alpha1.RegisterStateServer(apid, server.NewState(st))

	go func() {
		if err := apid.Serve(outside); err != nil {
			log.Print(err)
		}
	}()

	go func() {
		if err := obey(ctx, st); err != nil {
			log.Print(err)
		}

		apid.Stop()
		service.Stop()
	}()

	return service.Serve(listener)
}

// writeDown reads each resource back, since the state gives it its version and times.
func writeDown(ctx context.Context, st state.State, resources []resource.Resource, file string) error {
	entries := make([]entry, 0, len(resources))

	for _, r := range resources {
		stored, err := st.Get(ctx, r.Metadata())
		if err != nil {
			return err
		}

		md := stored.Metadata()
		entries = append(entries, entry{
			Namespace: md.Namespace(),
			Type:      md.Type(),
			ID:        md.ID(),
			Version:   md.Version().String(),
			Phase:     md.Phase().String(),
			Created:   instant(md.Created()),
			Spec:      written(stored.Spec()),
		})
	}

	text, err := json.MarshalIndent(map[string]any{"enums": enums(), "resources": entries}, "", "  ")
	if err != nil {
		return err
	}

	// Whoever waits for the file finds a whole one.
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}

	return os.Rename(file+".new", file)
}

func obey(ctx context.Context, st state.State) error {
	lines := bufio.NewScanner(os.Stdin)

	for lines.Scan() {
		var err error

		switch lines.Text() {
		case "update":
			err = update(ctx, st)
		case "destroy":
			err = st.Destroy(ctx, changing().Metadata())
		default:
			err = fmt.Errorf("unknown order %q", lines.Text())
		}

		if err != nil {
			return err
		}
	}

	return lines.Err()
}
