package main

import (
	"context"
	"fmt"
	"reflect"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/typed"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/resources/cluster"
	"github.com/siderolabs/talos/pkg/machinery/resources/config"
	"github.com/siderolabs/talos/pkg/machinery/resources/etcd"
	"github.com/siderolabs/talos/pkg/machinery/resources/k8s"
	"github.com/siderolabs/talos/pkg/machinery/resources/kubespan"
	"github.com/siderolabs/talos/pkg/machinery/resources/network"
	"github.com/siderolabs/talos/pkg/machinery/resources/runtime"
	"github.com/siderolabs/talos/pkg/machinery/resources/time"
	"github.com/siderolabs/talos/pkg/machinery/resources/v1alpha1"
)

// peerID names a peer: resources of KubeSpan have the peer's public key as their ID.
var peerID = key(1)

// all is one resource of each type that our programs read, every field of it filled, and where a type has several truth
// values, one more for each in which that one alone is true. Types that hold secrets by design
// (KubeSpanConfigs, LinkSpecs) are not among them: nobody of ours asks for these. Of DiscoveryConfigs only what is no secret is read.
func all() []resource.Resource {
	resources := []resource.Resource{
		changing(),
		filled(kubespan.NewPeerSpec(kubespan.NamespaceName, peerID)),
		filled(kubespan.NewEndpoint(kubespan.NamespaceName, peerID)),
		filled(cluster.NewAffiliate(cluster.NamespaceName, "7x1SuC8Ege5BGXdAfTEff5iQnlWZLfv9h1LGMxA2pYkC")),
		filled(cluster.NewAffiliate(cluster.RawNamespaceName, "service/7x1SuC8Ege5BGXdAfTEff5iQnlWZLfv9h1LGMxA2pYkC")),
		filled(cluster.NewMember(cluster.NamespaceName, "node-1")),
		filled(cluster.NewIdentity(cluster.NamespaceName, cluster.LocalIdentity)),
		filled(cluster.NewInfo()),
		filled(cluster.NewConfig(config.NamespaceName, cluster.ConfigID)),
		filled(network.NewNodeAddress(network.NamespaceName, network.NodeAddressRoutedID)),
		filled(network.NewNodeAddress(network.NamespaceName, network.FilteredNodeAddressID(network.NodeAddressCurrentID, k8s.NodeAddressFilterNoK8s))),
		filled(network.NewLinkStatus(network.NamespaceName, "kubespan")),
		filled(network.NewAddressStatus(network.NamespaceName, "kubespan/fd7f:175a:b97c:5602:2c1a:b6ff:fe53:8169/64")),
		filled(network.NewAddressStatus(cluster.NamespaceName, "service")),
		filled(network.NewRouteStatus(network.NamespaceName, "180/kubespan")),
		filled(network.NewRoutingRuleStatus(network.NamespaceName, "inet4/32500")),
		filled(network.NewNfTablesChain(network.NamespaceName, "kubespan_prerouting")),
		filled(network.NewHostnameStatus(network.NamespaceName, network.HostnameID)),
		filled(network.NewHardwareAddr(network.NamespaceName, network.FirstHardwareAddr)),
		filled(network.NewProbeStatus(network.NamespaceName, "tcp:192.0.2.1:443")),
		filled(network.NewResolverStatus(network.NamespaceName, network.ResolverID)),
		filled(network.NewTimeServerStatus(network.NamespaceName, network.TimeServerID)),
		filled(k8s.NewNodeIP(k8s.NamespaceName, k8s.KubeletID)),
		filled(k8s.NewNodename(k8s.NamespaceName, k8s.NodenameID)),
		filled(k8s.NewKubePrismStatuses(k8s.NamespaceName, k8s.KubePrismStatusesID)),
		filled(runtime.NewMachineStatus()),
		filled(runtime.NewVersion()),
		filled(runtime.NewDiagnostic(runtime.NamespaceName, "address-overlap")),
		filled(runtime.NewServicePID("ext-mesh-agent")),
		filled(etcd.NewMember(etcd.NamespaceName, etcd.LocalMemberID)),
	}
	resources = append(resources, truths(network.NewStatus(network.NamespaceName, network.StatusID), 4)...)
	resources = append(resources, truths(k8s.NewNodeStatus(k8s.NamespaceName, "node-1"), 2)...)
	resources = append(resources, truths(time.NewStatus(), 2)...)
	resources = append(resources, truths(v1alpha1.NewService("apid"), 3)...)

	return resources
}

// enums are the numbers that have names in what our programs read.
func enums() map[string][]string {
	return map[string][]string{
		"KubeSpanPeerState": names(kubespan.PeerStateUnknown, kubespan.PeerStateUp, kubespan.PeerStateDown),
		"MachineType":       names(machine.TypeUnknown, machine.TypeInit, machine.TypeControlPlane, machine.TypeWorker),
		"MachineStage": names(runtime.MachineStageUnknown, runtime.MachineStageBooting, runtime.MachineStageInstalling,
			runtime.MachineStageMaintenance, runtime.MachineStageRunning, runtime.MachineStageRebooting,
			runtime.MachineStageShuttingDown, runtime.MachineStageResetting, runtime.MachineStageUpgrading),
	}
}

// names are those of the numbers from 0 on; a number that is not where it should be gets an empty name.
func names[T interface {
	~int
	fmt.Stringer
}](values ...T) []string {
	found := make([]string, len(values))
	for _, value := range values {
		if int(value) < len(found) {
			found[value] = value.String()
		}
	}

	return found
}

// changing is the one resource that is updated and destroyed on demand.
func changing() *kubespan.PeerStatus {
	return filled(kubespan.NewPeerStatus(kubespan.NamespaceName, peerID))
}

func update(ctx context.Context, st state.State) error {
	_, err := st.UpdateWithConflicts(ctx, changing().Metadata(), func(r resource.Resource) error {
		status, ok := r.(*kubespan.PeerStatus)
		if ok {
			status.TypedSpec().State = kubespan.PeerStateDown
			status.TypedSpec().ReceiveBytes = 4711
		}

		return nil
	})

	return err
}

// filled gives each field a value of its own, counted from the type's name, so that a mixed-up field shows.
func filled[T typed.DeepCopyable[T], E typed.Extension](r *typed.Resource[T, E]) *typed.Resource[T, E] {
	f := filler{}
	f.fill(reflect.ValueOf(r.TypedSpec()).Elem(), "")

	return r
}

// truths is r with all its truth values true, and then with each of them true alone.
func truths[T typed.DeepCopyable[T], E typed.Extension](r *typed.Resource[T, E], count int) []resource.Resource {
	resources := []resource.Resource{filled(r)}

	for alone := 1; alone <= count; alone++ {
		md := r.Metadata()
		id := fmt.Sprintf("%s-%d", md.ID(), alone)
		one := typed.NewResource[T, E](resource.NewMetadata(md.Namespace(), md.Type(), id, resource.VersionUndefined), *new(T))
		f := filler{alone: alone}
		f.fill(reflect.ValueOf(one.TypedSpec()).Elem(), "")
		resources = append(resources, one)
	}

	return resources
}
