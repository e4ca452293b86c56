// SPDX-FileCopyrightText: The Dossier Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

// The size of a cluster apart from its pods.
const (
	Nodes      = 20
	Namespaces = 50
	fillers    = 24 // requests at one time
)

// NodeName returns the name of the i-th node, and its architecture.
func NodeName(i int) (name, architecture string) {
	i %= Nodes
	return fmt.Sprintf("node-%02d", i), architectures()[i%len(architectures())]
}

// Fill writes the namespaces, and for each image a Deployment, its ReplicaSet and
// perImage pods, with the statuses that a kubelet would write. Nobody must
// be there to reconcile them. The nodes are the caller's.
func Fill(ctx context.Context, client kubernetes.Interface, images *Images, host string, perImage int) error {
	for i := range Namespaces {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(i)}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return Each(ctx, len(images.List), func(ctx context.Context, i int) error {
		return fillImage(ctx, client, i, images.List[i], host, perImage)
	})
}

// Each calls f for 0 to n-1, some at a time, until one fails.
func Each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range fillers {
		wg.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

func namespaceOf(i int) string { return fmt.Sprintf("team-%02d", i%Namespaces) }

// PodName returns the namespace and the name of the n-th pod of the i-th image.
func PodName(i, n int) (namespace, name string) {
	return namespaceOf(i), fmt.Sprintf("%s-%s-%05d", appName(i), hashOf(i), n)
}

// appName is the name of the Deployment of the i-th image.
func appName(i int) string { return fmt.Sprintf("app-%04d", i) }

func fillImage(ctx context.Context, client kubernetes.Interface, i int, image Image, host string, perImage int) error {
	namespace, name := namespaceOf(i), appName(i)
	labels := map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": namespace, "pod-template-hash": hashOf(i)}
	spec := podSpec(host + "/" + image.Repository + ":" + image.Tag)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	replicas := int32(perImage)

	deployment, err := client.AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	set, err := client.AppsV1().ReplicaSets(namespace).Create(ctx, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: name + "-" + hashOf(i), Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(deployment, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &replicas, Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for n := range perImage {
		_, podName := PodName(i, n)
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: podName, Namespace: namespace, Labels: labels,
				Annotations:     map[string]string{"example.com/config-hash": image.Revision, "example.com/scrape": "true"},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))},
			},
			Spec: spec,
		}
		if err := RunPod(ctx, client, pod, i*perImage+n, host+"/"+image.Repository+"@"+string(image.Index)); err != nil {
			return err
		}
	}
	return nil
}

// RunPod creates a pod on the i-th node and says that it runs imageID.
func RunPod(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, i int, imageID string) error {
	pod.Spec.NodeName, _ = NodeName(i)
	created, err := client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	created.Status = statusOf(created, i, imageID)
	_, err = client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, created, metav1.UpdateOptions{})
	return err
}

// BarePod is a pod that nobody owns.
func BarePod(namespace, name, image string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: podSpec(image)}
}

func hashOf(i int) string { return strconv.FormatInt(int64(1_000_000_007*(i+1)%2_176_782_336), 36) }

// podSpec is a pod as a usual chart makes it.
func podSpec(image string) corev1.PodSpec {
	probe := &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}},
		PeriodSeconds: 10, TimeoutSeconds: 2, FailureThreshold: 3,
	}
	env := []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}
	for i := range 8 {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", i), Value: "a value of some length, such as a URL"})
	}
	grace := int64(30)
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers: []corev1.Container{{
			Name: "main", Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Env: env,
			Ports:         []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			LivenessProbe: probe, ReadinessProbe: probe,
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/app"}, {Name: "scratch", MountPath: "/var/tmp"}},
		}},
		Volumes: []corev1.Volume{
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "config"}}}},
			{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		},
	}
}

// statusOf is what a kubelet says of a pod that runs.
func statusOf(pod *corev1.Pod, i int, imageID string) corev1.PodStatus {
	since := metav1.NewTime(epoch().AddDate(0, 1, 0))
	ip := fmt.Sprintf("10.%d.%d.%d", 1+i>>16&0x7f, i>>8&0xff, i&0xff)
	status := corev1.PodStatus{
		Phase: corev1.PodRunning, QOSClass: pod.Status.QOSClass, StartTime: &since,
		HostIP: "192.0.2.1", HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}}, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
	}
	for _, typ := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: typ, Status: corev1.ConditionTrue, LastTransitionTime: since})
	}
	started := true
	for _, c := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: imageID, Ready: true, Started: &started,
			ContainerID: fmt.Sprintf("containerd://%064x", i+1),
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: since}},
		})
	}
	return status
}
