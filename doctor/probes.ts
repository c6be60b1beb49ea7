/**
 * What is tried to find out what the kernel and the tools can do: one entry for each kind of rule that a plan may
 * hold, on each backend. run_probes.ts tries them.
 *
 * @module
 */
import type { BackendName } from "../nft/backend.ts";
import type { InterceptIntent } from "../nft/intent.ts";
import { findIptablesScript } from "../nft/iptables_programs.ts";

/** One thing to try. */
export interface Probe {
  readonly id: string;
  /** Which backend it is for; `all`: every one. */
  readonly backend: BackendName | "all";
  readonly what: string;
  /** Shell commands that succeed where the host can do it. */
  readonly script: string;
  /** Whether rules for this intent need it. */
  isNeeded(intent: InterceptIntent): boolean;
  /** What brings it where it is missing. */
  readonly mend: string;
}

const always = () => true;
const usesTproxy = ({ tcp, udp, sidecar }: InterceptIntent) =>
  tcp === "tproxy" || udp === "tproxy" || sidecar?.inbound === "tproxy";
const usesRedirect = ({ tcp, sidecar }: InterceptIntent) => tcp === "redirect" || sidecar !== null;
const usesUdp = ({ udp }: InterceptIntent) => udp !== "off";
const spreads = ({ udp, udpWorkers }: InterceptIntent) => udp !== "off" && udpWorkers > 1;
const usesZones = ({ source, sidecar }: InterceptIntent) =>
  source === "keep" || (sidecar?.dns ?? null) !== null;
const names = (filter: { readonly include: readonly unknown[]; readonly exclude: readonly unknown[] }) =>
  filter.include.length + filter.exclude.length > 0;
const usesLists = ({ select }: InterceptIntent) => names(select.destinations) || names(select.sources);
const usesOwners = ({ select, sidecar }: InterceptIntent) =>
  sidecar !== null || names(select.uids) || names(select.gids);
const usesMacs = ({ select }: InterceptIntent) => names(select.macs);
const usesCgroups = ({ select }: InterceptIntent) => names(select.cgroups);
const isOpen = ({ onProxyDown }: InterceptIntent) => onProxyDown === "open";

/** What is said where there is none. */
export const NO_CGROUP = "no cgroup of version 2 below /sys/fs/cgroup";

/** A cgroup that is there: the first below the root. */
const FIND_CGROUP = "grep -q ' /sys/fs/cgroup cgroup2 ' /proc/self/mounts && " +
  'cgroup=$(cd /sys/fs/cgroup && ls -d */ | head -n 1) && cgroup=${cgroup%/} && [ -n "$cgroup" ] || ' +
  `{ echo "${NO_CGROUP}"; exit 1; }`;

function nft(
  id: string,
  what: string,
  chain: string,
  module: string,
  isNeeded: Probe["isNeeded"],
): Probe {
  return {
    id: `nft-${id}`,
    backend: "nft",
    what: `nft: ${what}`,
    script: `nft 'table inet probe_${id.replaceAll("-", "_")} { ${chain}; }'`,
    isNeeded,
    mend: `modprobe ${module}`,
  };
}

const MANGLE = "chain c { type filter hook prerouting priority mangle;";
const OUTPUT = "chain c { type route hook output priority mangle;";

const NFT_PROBES: readonly Probe[] = [
  nft("tables", "tables of family inet", "chain c { }", "nf_tables", always),
  nft("fib", "fib", `${MANGLE} fib daddr type local accept; }`, "nft_fib_inet", always),
  nft("tproxy", "tproxy", `${MANGLE} meta l4proto tcp tproxy to :1 accept; }`, "nft_tproxy", usesTproxy),
  nft(
    "socket",
    "socket",
    `${MANGLE} socket wildcard 0 socket transparent 1 socket mark 0x1 accept; }`,
    "nft_socket",
    usesTproxy,
  ),
  nft(
    "redirect",
    "redirect",
    "chain c { type nat hook prerouting priority -100; meta l4proto tcp redirect to :1; }",
    "nft_redir",
    usesRedirect,
  ),
  nft(
    "conntrack",
    "ct mark, ct status, notrack",
    `${MANGLE} ct status confirmed ct mark set 0x1 accept; }; ` +
      "chain d { type filter hook output priority raw; notrack; }",
    "nft_ct",
    usesUdp,
  ),
  nft(
    "zone",
    "ct zone",
    "chain c { type filter hook prerouting priority raw; ct zone set 1; }",
    "nft_ct",
    usesZones,
  ),
  nft(
    "hash",
    "jhash in a verdict map",
    `${MANGLE} jhash ip saddr . udp sport mod 2 vmap { 0 : accept, 1 : drop }; }`,
    "nft_hash",
    spreads,
  ),
  nft(
    "set",
    "interval sets",
    `set s { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 }; }; ${MANGLE} ip daddr @s accept; }`,
    "nf_tables",
    usesLists,
  ),
  nft("owner", "meta skuid", `${OUTPUT} meta skuid 0 accept; }`, "nf_tables", usesOwners),
  nft("mac", "ether saddr", `${MANGLE} ether saddr 02:00:5e:10:00:01 accept; }`, "nf_tables", usesMacs),
  {
    id: "nft-cgroup",
    backend: "nft",
    what: "nft: socket cgroupv2",
    script: `${FIND_CGROUP}; nft "table inet probe_cgroup { ${OUTPUT} ` +
      `socket cgroupv2 level 1 \\"$cgroup\\" accept; }; }"`,
    isNeeded: usesCgroups,
    mend: "modprobe nft_socket",
  },
  {
    id: "nft-owner-table",
    backend: "nft",
    what: "nft: tables that end with their process (nft -i, flags owner)",
    script: `said=$({ echo 'table inet probe_owned { flags owner; }'; echo 'list tables'; } | ` +
      `HOME=/dev/null nft -i 2>&1); echo "$said"; ` +
      `case $said in *"table inet probe_owned"*) ! nft list table inet probe_owned 2>/dev/null ;; *) false ;; esac`,
    isNeeded: isOpen,
    mend: "apt-get install nftables",
  },
];

interface IptablesFeature {
  readonly id: string;
  readonly what: string;
  /** Arguments of each attempt; `$family` is 4 or 6. */
  readonly rules: readonly string[];
  readonly module: string;
  readonly isNeeded: Probe["isNeeded"];
  readonly families?: string;
}

const PREROUTING = "-t mangle -A PREROUTING";
const IPTABLES_FEATURES: readonly IptablesFeature[] = [
  {
    id: "tables",
    what: "tables raw, mangle, nat, filter",
    rules: ["-t raw -N probe", "-t mangle -N probe", "-t nat -N probe", "-t filter -N probe"],
    module: "iptable_raw iptable_mangle iptable_nat iptable_filter",
    isNeeded: always,
  },
  {
    id: "tproxy",
    what: "TPROXY",
    rules: [`${PREROUTING} -p tcp -j TPROXY --on-port 1 --tproxy-mark 0x1/0x1`],
    module: "xt_TPROXY",
    isNeeded: usesTproxy,
  },
  {
    id: "socket",
    what: "socket",
    rules: [
      `${PREROUTING} -m socket --transparent --restore-skmark -j RETURN`,
      `${PREROUTING} -m socket --nowildcard -j RETURN`,
    ],
    module: "xt_socket",
    isNeeded: usesTproxy,
  },
  {
    id: "redirect",
    what: "REDIRECT",
    rules: ["-t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 1"],
    module: "xt_REDIRECT",
    isNeeded: usesRedirect,
  },
  {
    id: "addrtype",
    what: "addrtype",
    rules: [`${PREROUTING} -m addrtype --dst-type LOCAL -j RETURN`],
    module: "xt_addrtype",
    isNeeded: always,
  },
  {
    id: "mark",
    what: "mark and MARK, connmark and CONNMARK",
    rules: [
      `${PREROUTING} -m mark ! --mark 0x0/0x1 -j MARK --set-xmark 0x1/0x1`,
      `${PREROUTING} -m connmark --mark 0x1/0x1 -j CONNMARK --set-xmark 0x1/0x1`,
    ],
    module: "xt_mark xt_connmark",
    isNeeded: always,
  },
  {
    id: "conntrack",
    what: "conntrack, CT --notrack",
    rules: [
      `${PREROUTING} -m conntrack --ctstatus CONFIRMED --ctdir ORIGINAL -j RETURN`,
      "-t raw -A OUTPUT -p udp -j CT --notrack",
    ],
    module: "xt_conntrack xt_CT",
    isNeeded: usesUdp,
  },
  {
    id: "zone",
    what: "CT --zone",
    rules: ["-t raw -A OUTPUT -j CT --zone 1"],
    module: "xt_CT",
    isNeeded: usesZones,
  },
  {
    id: "multiport",
    what: "multiport",
    rules: [`${PREROUTING} -p tcp -m multiport --dports 1,3:5 -j RETURN`],
    module: "xt_multiport",
    isNeeded: always,
  },
  {
    id: "u32",
    what: "u32 (don't-fragment)",
    rules: [`${PREROUTING} -m u32 --u32 "0x4&0x4000=0x4000" -j RETURN`],
    module: "xt_u32",
    isNeeded: usesUdp,
    families: "4",
  },
  {
    id: "bpf",
    what: "bpf (which worker)",
    rules: [`${PREROUTING} -m bpf --bytecode "1,6 0 0 1" -j RETURN`],
    module: "xt_bpf",
    isNeeded: spreads,
  },
  {
    id: "owner",
    what: "owner",
    rules: ["-t mangle -A OUTPUT -m owner --uid-owner 0 -j RETURN"],
    module: "xt_owner",
    isNeeded: usesOwners,
  },
  {
    id: "mac",
    what: "mac",
    rules: [`${PREROUTING} -m mac --mac-source 02:00:5e:10:00:01 -j RETURN`],
    module: "xt_mac",
    isNeeded: usesMacs,
  },
  {
    id: "cgroup",
    what: "cgroup --path",
    rules: [`-t mangle -A OUTPUT -m cgroup --path "$cgroup" -j RETURN`],
    module: "xt_cgroup",
    isNeeded: usesCgroups,
  },
  {
    id: "set",
    what: "set (ipset)",
    rules: [`${PREROUTING} -m set --match-set "probe$family" dst -j RETURN`],
    module: "ip_set_hash_net xt_set",
    isNeeded: usesLists,
  },
];

function iptablesProbes(backend: Exclude<BackendName, "nft">): Probe[] {
  return IPTABLES_FEATURES.map(({ id, what, rules, module, isNeeded, families = "4 6" }) => {
    const prepare = id === "cgroup" ? [FIND_CGROUP] : id === "set" ? [MAKE_IPSETS] : [];
    const attempts = rules.map((rule) => `"$program" -w 5 ${rule} || exit 1`);
    return {
      id: `${backend}-${id}`,
      backend,
      what: `${backend}: ${what}`,
      script: [
        ...findIptablesScript(backend),
        `[ -n "$iptables" ] || { echo "${backend} is not installed"; exit 1; }`,
        ...prepare,
        `for family in ${families}; do`,
        "case $family in 4) program=$iptables ;; 6) program=ip6${iptables#ip} ;; esac",
        ...attempts,
        "done",
      ].join("\n"),
      isNeeded,
      mend: id === "tables" ? "apt-get install iptables" : `modprobe -a ${module}`,
    };
  });
}

const MAKE_IPSETS =
  "ipset -exist create probe4 hash:net family inet && ipset -exist create probe6 hash:net family inet6 || exit 1";

function routeProbe(family: 4 | 6): Probe {
  const to = family === 4 ? "198.51.100.1" : "2001:db8::1";
  return {
    id: `route-${family}`,
    backend: "all",
    what: `policy routing to this host, IPv${family}`,
    script: [
      `ip -${family} route add local default dev lo table 7873 proto 173 &&`,
      `ip -${family} rule add fwmark 0x1000000/0x3000000 iif lo lookup 7873 pref 90 protocol 173 &&`,
      `said=$(ip -${family} route get ${to} mark 0x1000000) && echo "$said" &&`,
      "case $said in local*) ;; *) false ;; esac",
    ].join("\n"),
    isNeeded: usesTproxy,
    mend: family === 4 ? "apt-get install iproute2" : "sysctl -w net.ipv6.conf.lo.disable_ipv6=0",
  };
}

/** Everything that is tried. */
export const PROBES: readonly Probe[] = [
  routeProbe(4),
  routeProbe(6),
  ...NFT_PROBES,
  ...iptablesProbes("iptables"),
  ...iptablesProbes("iptables-legacy"),
];
