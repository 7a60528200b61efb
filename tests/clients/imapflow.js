// Logs in by imapflow, appends a message, is told of it, and reads it back.
'use strict';

const { ImapFlow } = require('imapflow');
const { locate, run } = require('./common');

run(async asked => {
	const place = asked.dns ?
		await locate(asked.dns, asked.service, asked.domain) : asked;
	const client = new ImapFlow({
		host: place.address,
		port: place.port,
		secure: asked.secure,
		doSTARTTLS: !asked.secure,
		servername: place.name,
		tls: { ca: require('fs').readFileSync(asked.ca) },
		auth: asked.auth,
		logger: false,
	});

	await client.connect().catch(fault => {
		client.close();
		throw fault;
	});
	const lock = await client.getMailboxLock('INBOX');
	let back = '', told;
	try {
		await client.append('INBOX', Buffer.from(asked.message), [], new Date());
		// What it told while appending or at the next breath.
		await client.noop();
		told = client.mailbox.exists;
		const message = await client.fetchOne('*', { source: true });
		back = message.source.toString();
	} finally {
		lock.release();
	}
	await client.logout();
	return { back, told, place };
});
