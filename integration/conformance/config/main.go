// Command config makes machine configs as talosctl does, patches them with files, and has Talos itself judge what comes out.
// A test of the documents that we ship: never a part of a product.
//
// Each argument is a node: NAME=ROLE:FILE,FILE,.. with controlplane or worker as its role. What the config of each says is
// printed as JSON, or why Talos refuses it.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/generate"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/config/validation"
	"github.com/siderolabs/talos/pkg/machinery/constants"
)

// said is what a config says, or why there is none.
type said struct {
	Refused   string              `json:"refused"`
	Warnings  []string            `json:"warnings"`
	Kinds     []string            `json:"kinds"`
	Role      string              `json:"role"`
	Hostname  string              `json:"hostname"`
	Addresses []string            `json:"addresses"`
	Routes    []string            `json:"routes"`
	Links     []string            `json:"links"`
	Matches   []string            `json:"matches"`
	KubeSpan  bool                `json:"kubespan"`
	Discovery bool                `json:"discovery"`
	Ingress   string              `json:"ingress"`
	Open      []string            `json:"open"`
	Services  map[string][]string `json:"services"`
	Image     string              `json:"image"`
	CNI       string              `json:"cni"`
}

// metal is the mode of a machine with a disk of its own.
type metal struct{}

func (metal) String() string        { return "metal" }
func (metal) RequiresInstall() bool { return true }
func (metal) InContainer() bool     { return false }

func main() {
	contract, err := config.ParseContractFromVersion(os.Getenv("TALOS_VERSION"))
	if err != nil {
		log.Fatalf("TALOS_VERSION: %v", err)
	}

	bundle, err := secrets.NewBundle(secrets.NewFixedClock(time.Unix(1_800_000_000, 0)), contract)
	if err != nil {
		log.Fatal(err)
	}

	input, err := generate.NewInput("mesh-lab", "https://203.0.113.11:6443", constants.DefaultKubernetesVersion,
		generate.WithVersionContract(contract), generate.WithSecretsBundle(bundle),
		// What talosctl takes where nobody says which.
		generate.WithInstallDisk("/dev/sda"))
	if err != nil {
		log.Fatal(err)
	}

	nodes := map[string]*said{}

	for _, argument := range os.Args[1:] {
		name, rest, _ := strings.Cut(argument, "=")
		role, files, _ := strings.Cut(rest, ":")

		told, err := one(input, role, strings.Split(files, ","))
		if err != nil {
			told = &said{Refused: err.Error()}
		}

		nodes[name] = told
	}

	if err := json.NewEncoder(os.Stdout).Encode(nodes); err != nil {
		log.Fatal(err)
	}
}

func one(input *generate.Input, role string, files []string) (*said, error) {
	kind, err := machine.ParseType(role)
	if err != nil {
		return nil, err
	}

	made, err := input.Config(kind)
	if err != nil {
		return nil, err
	}

	arguments := make([]string, 0, len(files))
	for _, file := range files {
		arguments = append(arguments, "@"+file)
	}

	patches, err := configpatcher.LoadPatches(arguments)
	if err != nil {
		return nil, err
	}

	patched, err := configpatcher.Apply(configpatcher.WithConfig(made), patches)
	if err != nil {
		return nil, err
	}

	// As a node reads it: from its bytes, and strictly.
	text, err := patched.Bytes()
	if err != nil {
		return nil, err
	}

	provider, err := configloader.NewFromBytes(text)
	if err != nil {
		return nil, err
	}

	warnings, err := provider.Validate(metal{}, validation.WithLocal())
	if err != nil {
		return nil, err
	}

	if !provider.CompleteForBoot() {
		return nil, fmt.Errorf("the config is not enough to boot with")
	}

	return tell(provider, warnings), nil
}

func tell(provider config.Provider, warnings []string) *said {
	told := &said{
		Warnings:  warnings,
		Role:      provider.Machine().Type().String(),
		KubeSpan:  provider.NetworkKubeSpanConfig() != nil && provider.NetworkKubeSpanConfig().Enabled(),
		Discovery: provider.Cluster().Discovery().Enabled(),
		Ingress:   provider.NetworkRules().DefaultAction().String(),
		Services:  map[string][]string{},
		Image:     provider.Machine().Install().Image(),
		CNI:       provider.Cluster().Network().CNI().Name(),
	}

	if hostname := provider.NetworkHostnameConfig(); hostname != nil {
		told.Hostname = hostname.Hostname()
	}

	for _, document := range provider.Documents() {
		told.Kinds = append(told.Kinds, document.Kind())
	}

	for _, link := range provider.NetworkCommonLinkConfigs() {
		told.Links = append(told.Links, link.Name())

		for _, address := range link.Addresses() {
			told.Addresses = append(told.Addresses, address.Address().String())
		}

		for _, route := range link.Routes() {
			told.Routes = append(told.Routes, line(route.Destination().ValueOrZero(), route.Gateway().ValueOrZero()))
		}
	}

	for _, alias := range provider.NetworkLinkAliasConfigs() {
		selector := alias.LinkSelector()
		text, _ := selector.MarshalText() //nolint:errcheck // it was parsed a moment ago

		told.Matches = append(told.Matches, string(text))
	}

	for _, rule := range provider.NetworkRules().Rules() {
		for _, ports := range rule.PortRanges() {
			told.Open = append(told.Open, fmt.Sprintf("%s %d-%d from %v", rule.Protocol(), ports[0], ports[1], rule.Subnets()))
		}
	}

	for _, service := range provider.ExtensionServiceConfigs() {
		told.Services[service.Name()] = service.Environment()
	}

	return told
}

func line(destination netip.Prefix, gateway netip.Addr) string {
	to, via := "default", "the link"

	if destination.IsValid() {
		to = destination.String()
	}

	if gateway.IsValid() {
		via = gateway.String()
	}

	return to + " via " + via
}
