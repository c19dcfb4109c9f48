// Many battles of the real simulator in one process, spoken to in lines of JSON over pipes.
//
//   node bridge.js SIMULATOR      SIMULATOR: the folder of the npm package pokemon-showdown
//
// in   ["format", name]                      describe a battle format
//      ["validate", format, [export, ...]]   judge and pack teams given as Showdown exports
//      ["start", id, {format, seed, p1: {name, team?, seed}, p2: {...}}]
//      ["choose", id, seat, choice]          e.g. ["choose", 7, "p1", "move 2"]
//      ["drop", id]                          forget a battle
// out  ["format", {...}] | ["validate", [{packed, problems, known}, ...]]
//      ["battle", id, [lines of p1, lines of p2], [request of p1, of p2], [error of p1, of p2], end]
//      ["crash", id, message]                the simulator threw: the battle is gone
//
// A battle's message is sent when the simulator has finished with one command, with all that it
// said meanwhile, so it makes no difference whether it sends a request before or after the update.
'use strict';

const path = require('path');
const simulator = process.argv[2];
const {BattleStream, Dex, TeamValidator, Teams, toID} = require(path.resolve(simulator));
const {Battle, extractChannelMessages} = require(path.resolve(simulator, 'dist/sim/battle.js'));
Object.assign(globalThis, {Dex, TeamValidator, Teams, toID}); // the rules of some formats use them

/** One battle, collecting what the simulator says until `flush` hands it over. */
class CollectingStream extends BattleStream {
	constructor(id) {
		super({noCatch: true, keepAlive: true});
		this.id = id;
		this.clear();
	}

	clear() {
		this.lines = ['', ''];
		this.requests = ['null', 'null'];
		this.errors = [null, null];
		this.end = 'null';
		this.dirty = false;
	}

	pushMessage(type, data) {
		this.dirty = true;
		if (type === 'update') {
			const channels = extractChannelMessages(data, [1, 2]);
			for (const seat of [0, 1]) {
				if (this.lines[seat]) this.lines[seat] += '\n';
				this.lines[seat] += channels[seat + 1].join('\n');
			}
		} else if (type === 'sideupdate') {
			const seat = data[1] - 1;
			const message = data.slice(3);
			if (message.startsWith('|request|')) {
				this.requests[seat] = message.slice('|request|'.length);
			} else if (message.startsWith('|error|')) {
				this.errors[seat] = message.slice('|error|'.length);
			}
		} else if (type === 'end') {
			const {winner, turns} = JSON.parse(data);
			this.end = JSON.stringify({winner, turns});
		}
	}

	flush() {
		if (!this.dirty) return '';
		const message = `["battle",${JSON.stringify(this.id)},${JSON.stringify(this.lines)},` +
			`[${this.requests.join()}],${JSON.stringify(this.errors)},${this.end}]\n`;
		this.clear();
		return message;
	}
}

const battles = new Map();

/**
 * Give every Pokémon of a team a name of its own: the protocol tells them apart by nothing else.
 * Numbers those whose name, by default that of the species, another one has.
 */
function nameApart(dex, team) {
	const used = new Set();
	for (const set of team) {
		const shown = !set.name || set.name === set.species ?
			dex.species.get(set.species).baseSpecies : set.name.slice(0, 20);
		let name = shown;
		for (let n = 2; used.has(name); n++) name = `${shown.slice(0, 15)} ${n}`;
		used.add(name);
		if (name !== shown) set.name = name;
	}
	return team;
}

/** The moves that a format's mod adds to its generation's, by id. */
function movesOfItsOwn(dex) {
	const usual = Dex.forGen(dex.gen);
	return dex.moves.all().map(move => move.id).filter(id => !usual.moves.get(id).exists);
}

/** Whether a battle keeps the rules of its format, rather than draw others as it starts. */
function keepsItsRules(format, dex) {
	if (!dex.data.Scripts.start || !format.team) return true; // it starts as all others do
	const battle = new Battle({formatid: format.id, p1: {name: 'p1'}, p2: {name: 'p2'}});
	return battle.dex.currentMod === dex.currentMod;
}

/** Numbers in [0, 1) that depend on a text alone (FNV-1a, then a linear congruential generator). */
function randomOf(text) {
	let state = 2166136261;
	for (const character of text) state = Math.imul(state ^ character.codePointAt(0), 16777619);
	return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/**
 * Parse a team and judge it. An invalid one gets its problems, whatever the text was; `known` says
 * how many Pokémon in it the simulator knows. The validator draws genders that the text leaves open:
 * here the same text always gets the same ones.
 */
function validate(validator, text) {
	const random = Math.random;
	Math.random = randomOf(text);
	try {
		const team = Teams.import(text.trim());
		if (!team?.length) return {packed: '', problems: ['it holds no Pokémon'], known: 0};
		const known = team.filter(set => validator.dex.species.get(set.species).exists).length;
		if (validator.dex.gen <= 2) {
			for (const set of team) {
				// An export leaves the line out for what the validator then fills in: 252 each.
				if (!Object.values(set.evs || {}).some(Boolean)) delete set.evs;
			}
		}
		const problems = validator.validateTeam(team) || [];
		if (team.length > 6) problems.push(`it holds ${team.length} Pokémon, and Metamon's actions are for 6`);
		for (const {species, moves} of team) {
			if (moves.length > 4) problems.push(`${species} has ${moves.length} moves, and Metamon's actions are for 4`);
		}
		return {packed: Teams.pack(team), problems, known};
	} catch (error) {
		return {packed: '', problems: [`the simulator cannot read it (${error.message})`], known: 0};
	} finally {
		Math.random = random;
	}
}

/** Let the simulator do something in a battle; its answer, as a line, or '' if it said nothing. */
function advance(id, action) {
	const stream = battles.get(id);
	if (!stream) return '';
	try {
		action(stream);
	} catch (error) {
		battles.delete(id);
		return JSON.stringify(['crash', id, String(error.stack || error)]) + '\n';
	}
	if (stream.end !== 'null') battles.delete(id);
	return stream.flush();
}

const commands = {
	format(name) {
		const format = Dex.formats.get(name);
		const exists = format.effectType === 'Format';
		const dex = Dex.forFormat(format);
		return JSON.stringify(['format', {
			exists,
			id: format.id,
			game_type: format.gameType,
			random_teams: !!format.team,
			gen: dex.gen,
			max_team_size: exists ? Dex.formats.getRuleTable(format).maxTeamSize : 0,
			own_moves: movesOfItsOwn(dex),
			keeps_its_rules: keepsItsRules(format, dex),
		}]) + '\n';
	},
	validate(format, exports) {
		const validator = TeamValidator.get(format);
		return JSON.stringify(['validate', exports.map(text => validate(validator, text))]) + '\n';
	},
	start(id, {format, seed, p1, p2}) {
		battles.set(id, new CollectingStream(id));
		return advance(id, stream => {
			stream._write(`>start ${JSON.stringify({formatid: format, seed})}`);
			const {battle} = stream;
			const getTeam = battle.getTeam.bind(battle);
			battle.getTeam = options => nameApart(battle.dex, getTeam(options));
			stream._write(`>player p1 ${JSON.stringify(p1)}`);
			stream._write(`>player p2 ${JSON.stringify(p2)}`);
		});
	},
	choose(id, seat, choice) {
		return advance(id, stream => stream._write(`>${seat} ${choice}`));
	},
	drop(id) {
		battles.delete(id);
		return '';
	},
};

let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', chunk => {
	const lines = (rest + chunk).split('\n');
	rest = lines.pop();
	let answer = '';
	for (const line of lines) {
		const [command, ...args] = JSON.parse(line);
		answer += commands[command](...args);
	}
	if (answer) process.stdout.write(answer);
});
process.stdin.on('end', () => process.exit(0));
process.stdout.on('error', () => process.exit(1));
process.on('SIGINT', () => {}); // Ctrl-C is the parent's business; it closes our input
