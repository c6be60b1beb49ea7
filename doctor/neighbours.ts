/**
 * Programs that have rules and routes of their own on many hosts: by what they are known, and what they have to do
 * with us.
 *
 * @module
 */
import type { FirewallChain, FirewallTable } from "./firewall.ts";
import type { IpRuleFact } from "./ip_listing.ts";
import type { Subject } from "./subject.ts";

/** A program. */
export interface Neighbour {
  readonly id: string;
  readonly name: string;
  isTable?(table: FirewallTable): boolean;
  isChain?(chain: FirewallChain): boolean;
  isRule?(rule: IpRuleFact): boolean;
  /** Whether it needs somebody's eye, and not only to be known. */
  matters(subject: Subject): boolean;
  readonly breaks: string;
  readonly mend: string | null;
}

const never = () => false;
const named = (pattern: RegExp) => ({ name }: { readonly name: string }) => pattern.test(name);
const marked = (mask: number, ...values: number[]) => ({ mark }: IpRuleFact) =>
  mark !== undefined && mark.mask === mask && (values.length === 0 || values.includes(mark.value));
const takesOwnTraffic = ({ intent }: Subject) => intent.local;
const byIptables = ({ config: { rules } }: Subject) => rules === "iptables" || rules === "iptables-legacy";

const OWN_TRAFFIC_MARKED =
  "--local: what it has marked with bits of its own is left alone and leaves as it wants";

/** All that are known. */
export const NEIGHBOURS: readonly Neighbour[] = [
  {
    id: "tailscale",
    name: "Tailscale",
    isChain: named(/^ts-(input|forward|postrouting)$/),
    isRule: (rule) => rule.table === 52 || marked(0xff0000, 0x80000)(rule),
    matters: never,
    breaks:
      `nothing: its marks are 0xff0000, its table is 52 and its rules come after ours. ${OWN_TRAFFIC_MARKED}`,
    mend: null,
  },
  {
    id: "docker",
    name: "Docker",
    isChain: named(/^DOCKER(-|$)/),
    matters: never,
    breaks:
      "nothing by itself: ports that it publishes are translated after TPROXY has looked at a packet. Its " +
      "FORWARD policy DROP is met by what is not intercepted. Its restart leaves our chains alone",
    mend: null,
  },
  {
    id: "kube-proxy",
    name: "kube-proxy",
    isTable: named(/^kube-proxy$/),
    isChain: named(/^KUBE-(SERVICES|MARK-MASQ|POSTROUTING|NODEPORTS|FORWARD)$/),
    matters: ({ intent }) => intent.from.length > 0,
    breaks:
      "--from a pod's interface: service addresses are taken before kube-proxy translates them, so pods reach " +
      "services by way of us and network policies see this host (its marks are 0x4000 and 0x8000)",
    mend: "pellucid run --exclude-cidr SERVICE_CIDR",
  },
  {
    id: "firewalld",
    name: "firewalld",
    isTable: named(/^firewalld/),
    isChain: named(/^(INPUT|FORWARD|PREROUTING)_ZONES$/),
    matters: byIptables,
    breaks:
      "`firewall-cmd --reload` flushes the rules of iptables, ours with them, until they are healed; tables of " +
      "nft it leaves alone. Its zones know no packet marks: see `firewalls`",
    mend: "pellucid run --rules nft",
  },
  {
    id: "ufw",
    name: "ufw",
    isChain: named(/^ufw6?-/),
    matters: never,
    breaks: "`ufw reload` leaves other chains alone. What it drops on input is under `firewalls`",
    mend: null,
  },
  {
    id: "mwan3",
    name: "mwan3",
    isChain: named(/^mwan3_/),
    isRule: marked(0x3f00),
    matters: takesOwnTraffic,
    breaks:
      `nothing for forwarded traffic: our connections are balanced as this host's own are. ${OWN_TRAFFIC_MARKED}`,
    mend: "mwan3: leave out of its rules what is to be taken with --local",
  },
  {
    id: "cilium",
    name: "Cilium",
    isChain: named(/^(OLD_)?CILIUM_/),
    isRule: (rule) => marked(0xf00)(rule) || rule.table === 2004 || rule.table === 2005,
    matters: ({ intent }) => intent.from.length > 0 || intent.local,
    breaks:
      "--from a pod's interface: with BPF host routing packets pass all rules by, and its socket load " +
      "balancer translates addresses before any rule sees them",
    mend: "cilium config set enable-host-legacy-routing true",
  },
  {
    id: "calico",
    name: "Calico",
    isTable: named(/^calico$/),
    isChain: named(/^cali-/),
    matters: never,
    breaks:
      "its marks: by default it may use any bit of 0xffff0000, the lowest first; ours are 0x17000000. Those in " +
      "use are under `numbers`",
    mend: `calicoctl patch felixconfiguration default -p '{"spec":{"iptablesMarkMask":16711680}}'`,
  },
  {
    id: "wireguard",
    name: "WireGuard (wg-quick)",
    isTable: named(/^wg-quick-/),
    isRule: (rule) => rule.mark?.value === 0xca6c,
    matters: never,
    breaks: `nothing where its routing rules come after ours, as under \`numbers\`. ${OWN_TRAFFIC_MARKED}`,
    mend: null,
  },
  {
    id: "istio",
    name: "Istio",
    isChain: named(/^ISTIO_/),
    matters: () => true,
    breaks: "both intercept this pod's connections: the chain that is met first has them",
    mend: "istio-clean-iptables",
  },
  {
    id: "linkerd",
    name: "Linkerd",
    isChain: named(/^PROXY_INIT_/),
    matters: () => true,
    breaks: "both intercept this pod's connections: the chain that is met first has them",
    mend: "restart the pod without `linkerd.io/inject: enabled`",
  },
];
