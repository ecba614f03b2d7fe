// Loaded into the conformance suite with `node --import`: the suite has no option for a bearer token,
// so every request that leaves it gets one here, whichever client of Node makes it.
import http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const token = process.env.KRUXOS_CONFORMANCE_TOKEN;
if (!token) throw new Error('KRUXOS_CONFORMANCE_TOKEN is not set');
const value = `Bearer ${token}`;

const plainFetch = globalThis.fetch;
globalThis.fetch = (input, init = {}) => {
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
  if (!headers.has('authorization')) headers.set('authorization', value);
  return plainFetch(input, { ...init, headers });
};

const plainRequest = http.request;
http.request = function request(...args) {
  const made = plainRequest.apply(http, args);
  if (!made.hasHeader('authorization')) made.setHeader('authorization', value);
  return made;
};

// The suite's own undici, for the scenarios that set `Host`.
const suite = process.env.KRUXOS_CONFORMANCE_SUITE;
if (suite) {
  const undici = createRequire(pathToFileURL(suite))('undici');
  const plain = undici.getGlobalDispatcher();
  undici.setGlobalDispatcher(
    plain.compose((dispatch) => (options, handler) => {
      const headers = options.headers ?? {};
      const withToken = Array.isArray(headers)
        ? [...headers, 'authorization', value]
        : typeof headers[Symbol.iterator] === 'function'
          ? [...headers, ['authorization', value]]
          : { authorization: value, ...headers };
      return dispatch({ ...options, headers: withToken }, handler);
    }),
  );
}
