// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dossier.dev/dossier"
)

// reduce keeps of a pod what matters. It is the counterpart of treePod for the
// API's own types.
func reduce(in *corev1.Pod) pod {
	p := pod{
		Namespace: bound(in.Namespace, MaxName),
		Name:      bound(in.Name, MaxName),
		UID:       bound(string(in.UID), MaxName),
		Owner:     controller(in.Annotations, in.OwnerReferences),
		Node:      bound(in.Spec.NodeName, MaxName),
		Labels:    joinLabels(in.Labels),
		Ended:     in.Status.Phase == corev1.PodSucceeded || in.Status.Phase == corev1.PodFailed,
	}
	p.addSpec(&in.Spec)
	for _, s := range in.Spec.ImagePullSecrets {
		if s.Name != "" {
			p.Secrets = append(p.Secrets, bound(s.Name, MaxName))
		}
	}
	ids := imageIDs{}
	ids.read(dossier.Container, in.Status.ContainerStatuses)
	ids.read(dossier.InitContainer, in.Status.InitContainerStatuses)
	ids.read(dossier.EphemeralContainer, in.Status.EphemeralContainerStatuses)
	ids.fill(p.Containers)
	return p
}

// addSpec adds what a pod spec names.
func (p *pod) addSpec(spec *corev1.PodSpec) {
	for i := range spec.Containers {
		c := &spec.Containers[i]
		p.add(dossier.Container, bound(c.Name, MaxName), bound(c.Image, MaxImage), bound(string(c.ImagePullPolicy), MaxName))
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		p.add(dossier.InitContainer, bound(c.Name, MaxName), bound(c.Image, MaxImage), bound(string(c.ImagePullPolicy), MaxName))
	}
	for i := range spec.EphemeralContainers {
		c := &spec.EphemeralContainers[i]
		p.add(dossier.EphemeralContainer, bound(c.Name, MaxName), bound(c.Image, MaxImage), bound(string(c.ImagePullPolicy), MaxName))
	}
	for i := range spec.Volumes {
		if v := &spec.Volumes[i]; v.Image != nil {
			p.add(dossier.ImageVolume, bound(v.Name, MaxName), bound(v.Image.Reference, MaxImage), bound(string(v.Image.PullPolicy), MaxName))
		}
	}
}

// read collects the image IDs of one list of statuses.
func (ids imageIDs) read(typ dossier.ContainerType, statuses []corev1.ContainerStatus) {
	for i := range statuses {
		s := &statuses[i]
		ids.set(typ, s.Name, bound(s.ImageID, MaxImage))
		for _, m := range s.VolumeMounts {
			if m.VolumeStatus != nil && m.VolumeStatus.Image != nil {
				ids.set(dossier.ImageVolume, m.Name, bound(m.VolumeStatus.Image.ImageRef, MaxImage))
			}
		}
	}
}

// controller returns the owner that controls an object, or nil. It is the
// counterpart of treeOwner.
func controller(annotations map[string]string, refs []metav1.OwnerReference) *owner {
	if _, mirror := annotations[mirrorAnnotation]; mirror {
		return nil
	}
	for _, ref := range refs {
		if ref.Controller != nil && *ref.Controller && ref.Kind != "" && ref.Kind != "Node" && ref.Name != "" {
			return &owner{
				APIVersion: bound(ref.APIVersion, MaxName),
				Kind:       bound(ref.Kind, MaxName),
				Name:       bound(ref.Name, MaxName),
				UID:        bound(string(ref.UID), MaxName),
			}
		}
	}
	return nil
}
