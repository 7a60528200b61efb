// What the programs share: questions in as JSON, answers out as JSON.
'use strict';

const dns = require('dns');
const fs = require('fs');

function question() {
	return JSON.parse(fs.readFileSync(0, 'utf8'));
}

// RFC 6186: service records below the mail domain, the best target's
// addresses, by the given name server alone.
async function locate(server, service, domain) {
	const resolver = new dns.promises.Resolver({ timeout: 2000, tries: 3 });

	resolver.setServers([server]);
	const found = await resolver.resolveSrv(`_${service}._tcp.${domain}`);
	const best = found.sort((a, b) => a.priority - b.priority)[0];

	if (!best || best.name === '')
		throw new Error(`${service} is off`);
	const addresses = await resolver.resolve4(best.name);
	return { name: best.name, port: best.port, address: addresses[0] };
}

// Runs the program; its answer, or the fault as `error`.
function run(program) {
	program(question()).then(
		answer => process.stdout.write(JSON.stringify(answer) + '\n'),
		fault => {
			process.stdout.write(JSON.stringify({
				error: String(fault.responseText || fault.response ||
					fault.message),
			}) + '\n');
			process.exitCode = 1;
		});
}

module.exports = { locate, run };
