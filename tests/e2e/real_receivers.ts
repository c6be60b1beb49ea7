/**
 * Servers that take PROXY protocol: HAProxy and nginx. Each answers HTTP with the client and the destination that it
 * was told of, and passes another port's connections on to iperf3, with a line in its log that says the same.
 *
 * @module
 */
import { GATEWAY_LAB, type LabHost } from "../lab/mod.ts";
import { listening } from "./real_program.ts";

const { servers } = GATEWAY_LAB;

/** Answers HTTP with `CLIENT-ADDRESS CLIENT-PORT ADDRESS PORT`. */
export const TELLING_PORT = 8080;
/** Leads to {@linkcode PASSED_TO}. */
export const PASSING_PORT = 8081;
/** iperf3's. */
const PASSED_TO = `${servers.v4}:5201`;
/** Stands before the same four words in the log, one line for each connection that was passed on. */
const PASSED = "passed";
const NGINX_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so";

/** A server that takes PROXY protocol on both of the internet host's second addresses. */
export interface Receiver {
  readonly name: string;
  /** As `missingPrograms` wants it. */
  readonly needs: Readonly<Record<string, string>>;
  /** Starts it in the internet host; `folder` is its own. Resolves to `CLIENT-ADDRESS CLIENT-PORT ADDRESS PORT`s. */
  start(host: LabHost, folder: string): Promise<{ readonly passed: () => string[] }>;
}

export const HAPROXY: Receiver = {
  name: "HAProxy",
  needs: { haproxy: "haproxy" },
  start: (host, folder) =>
    start(host, "HAProxy", `${folder}/haproxy.cfg`, haproxyConfiguration(), haproxyArgv),
};

export const NGINX: Receiver = {
  name: "nginx",
  needs: { nginx: "nginx-light", [NGINX_STREAM_MODULE]: "libnginx-mod-stream" },
  start: (host, folder) =>
    start(host, "nginx", `${folder}/nginx.conf`, nginxConfiguration(folder), nginxArgv),
};

const haproxyArgv = (file: string) => ["haproxy", "-db", "-f", file];
const nginxArgv = (file: string) => ["nginx", "-e", "stderr", "-c", file];

async function start(
  host: LabHost,
  name: string,
  file: string,
  configuration: string,
  argv: (file: string) => string[],
): ReturnType<Receiver["start"]> {
  await Deno.writeTextFile(file, configuration);
  const server = host.spawn(argv(file));
  await listening(host, server, name, { proto: "tcp", port: PASSING_PORT });
  const passed = () =>
    server.stdout.lines.filter((line) => line.startsWith(PASSED)).map((line) =>
      line.slice(PASSED.length + 1)
    );
  return { passed };
}

function haproxyConfiguration(): string {
  const told = "%ci %cp %fi %fp";
  return `global
  log stdout format raw local0
  maxconn 100
defaults
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend telling
  mode http
  bind ${servers.v4b}:${TELLING_PORT} accept-proxy
  bind ${servers.v6b}:${TELLING_PORT} accept-proxy
  http-request return status 200 content-type text/plain lf-string "${told}"
listen passing
  mode tcp
  log global
  log-format "${PASSED} ${told}"
  bind ${servers.v4b}:${PASSING_PORT} accept-proxy
  bind ${servers.v6b}:${PASSING_PORT} accept-proxy
  server iperf3 ${PASSED_TO}
`;
}

/** One process, which stays who it is: the lab has one user, and no groups to be taken. */
function nginxConfiguration(folder: string): string {
  const told =
    "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
  const listen = (port: number) =>
    [servers.v4b, `[${servers.v6b}]`].map((address) => `listen ${address}:${port} proxy_protocol;`).join(" ");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(" ");
  return `load_module ${NGINX_STREAM_MODULE};
daemon off;
master_process off;
user root;
pid ${folder}/nginx.pid;
events {}
http {
  access_log off;
  ${temporary}
  server {
    ${listen(TELLING_PORT)}
    return 200 "${told}";
  }
}
stream {
  log_format passed "${PASSED} ${told}";
  access_log /dev/stdout passed;
  server {
    ${listen(PASSING_PORT)}
    proxy_pass ${PASSED_TO};
  }
}
`;
}
