/**
 * Rules in the manner of Docker, ufw and kube-proxy that are hard to leave as they are: in every table, of both
 * families, with negations, quotation marks, and words that look like ours.
 *
 * @module
 */

const BOTH = `*nat
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s SOURCE ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 80
COMMIT
*mangle
:KUBE-MARK - [0:0]
-A PREROUTING -j KUBE-MARK
-A FORWARD -o wg0 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A KUBE-MARK -m mark --mark 0x8000/0x8000 -m comment --comment "a \\"quoted\\" word, and somebody's" -j RETURN
COMMIT
*raw
-A PREROUTING -d SOURCE ! -i docker0 -p tcp -m tcp --dport 3306 -j DROP
-A OUTPUT -o lo -j CT --notrack
COMMIT
*filter
:DOCKER-USER - [0:0]
:LOG_DROP - [0:0]
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
-A INPUT -p tcp -m tcp --dport 7870 -m comment --comment "pellucid: nobody talks to the listener" -j LOG_DROP
-A INPUT -j ufw-before-input
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
-A LOG_DROP -j DROP
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
-A ufw-before-input -j ufw-user-input
-A ufw-user-input -p udp -m multiport --dports 137,138 -m comment --comment "dapp_Samba pellucid_" -j ACCEPT
COMMIT
`;

/** The text for `iptables-restore`. */
export function foreignRules(family: 4 | 6): string {
  return BOTH.replaceAll("SOURCE", family === 4 ? "192.0.2.64/26" : "2001:db8:d::/64");
}
