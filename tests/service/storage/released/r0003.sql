BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE api_key (
	tenant VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	key_class VARCHAR NOT NULL, 
	label VARCHAR NOT NULL, 
	created_us BIGINT NOT NULL, 
	revoked_us BIGINT, 
	PRIMARY KEY (tenant, sha256)
);
INSERT INTO "api_key" VALUES('default','aa','ck','web',1795167000000000,NULL);
CREATE TABLE catalog_revision (
	tenant VARCHAR NOT NULL, 
	revision INTEGER NOT NULL, 
	digest VARCHAR NOT NULL, 
	files TEXT NOT NULL, 
	applied_us BIGINT NOT NULL, 
	applied_by VARCHAR NOT NULL, 
	superseded_us BIGINT, 
	PRIMARY KEY (tenant, revision)
);
INSERT INTO "catalog_revision" VALUES('default',1,'d1','{"metrics.yaml":"metrics: {}\n"}',1795167000000000,'maria',NULL);
CREATE TABLE consent (
	tenant VARCHAR NOT NULL, 
	consent_id VARCHAR NOT NULL, 
	person_id VARCHAR NOT NULL, 
	purpose VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	decided_us BIGINT NOT NULL, 
	received_us BIGINT NOT NULL, 
	text_version VARCHAR NOT NULL, 
	source VARCHAR NOT NULL, 
	trust VARCHAR NOT NULL, 
	proof TEXT NOT NULL, 
	PRIMARY KEY (tenant, consent_id, person_id, purpose)
);
INSERT INTO "consent" VALUES('default','c1','u:u1','personalization','granted',1795339800123456,1795339800123456,'1','api','server','form');
CREATE TABLE event (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	tenant VARCHAR NOT NULL, 
	event_id VARCHAR NOT NULL, 
	type VARCHAR NOT NULL, 
	person_id VARCHAR NOT NULL, 
	user_id VARCHAR, 
	anonymous_id VARCHAR, 
	occurred_us BIGINT NOT NULL, 
	received_us BIGINT NOT NULL, 
	source VARCHAR NOT NULL, 
	trust VARCHAR NOT NULL, 
	properties TEXT NOT NULL, privacy VARCHAR, 
	CONSTRAINT event_id_once UNIQUE (tenant, event_id)
);
INSERT INTO "event" VALUES(1,'default','e01','Product Viewed','a:a1',NULL,'a1',1795167060000000,1795167062000000,'events','client','{"item_id":"item-1"}',NULL);
INSERT INTO "event" VALUES(2,'default','e02','Product Viewed','a:a1',NULL,'a1',1795167120000000,1795167122000000,'events','client','{"item_id":"item-2"}',NULL);
INSERT INTO "event" VALUES(3,'default','e03','Signed In','u:u1','u1','a1',1795167180000000,1795167182000000,'events','client','{}',NULL);
INSERT INTO "event" VALUES(4,'default','e04','Order Completed','u:u1','u1',NULL,1795167240000000,1795167242000000,'events','server','{"products":[{"product_id":"item-1","quantity":2}],"revenue":19.9}',NULL);
INSERT INTO "event" VALUES(5,'default','e05','Product Viewed','u:u1','u1','a1',1795167300000000,1795167302000000,'events','client','{"item_id":"item-2"}',NULL);
INSERT INTO "event" VALUES(6,'default','e06','Product Viewed','u:u1','u1','a2',1795167360000000,1795167362000000,'events','client','{"item_id":"item-0"}',NULL);
INSERT INTO "event" VALUES(7,'default','e07','Product Viewed','u:u2','u2','a2',1795167420000000,1795167422000000,'events','client','{"item_id":"item-1"}',NULL);
INSERT INTO "event" VALUES(8,'default','e08','Product Viewed','u:u2','u2','a2',1795167480000000,1795167482000000,'events','server','{"item_id":"item-2"}',NULL);
INSERT INTO "event" VALUES(9,'default','e09','Experiment Viewed','a:ünï',NULL,'ünï',1795167540000000,1795167542000000,'events','client','{"experiment_key":"button","variant_key":"loud","phase":1,"revision":1,"unit_id":"ünï"}',NULL);
INSERT INTO "event" VALUES(10,'default','e10','Product Viewed','u:u3','u3',NULL,1794907800000000,1795167602000000,'events','client','{"item_id":"item-1"}',NULL);
INSERT INTO "event" VALUES(11,'default','e11','Product Viewed','u:u3','u3',NULL,1795167660000000,1795167662000000,'events','client','{"item_id":"item-2"}',NULL);
INSERT INTO "event" VALUES(12,'default','e12','Product Viewed','a:o''brien',NULL,'o''brien',1795167720000000,1795167722000000,'events','server','{"text":"it''s; \"quoted\"","n":null}',NULL);
INSERT INTO "event" VALUES(13,'default','f00','Product Viewed','a:a0',NULL,'a0',1795339800123456,1795339800123456,'events','client','{"item_id":"item-0","products":[{"product_id":"item-0","quantity":1},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(14,'default','f01','Page Viewed','u:u2','u2','a1',1795343400123456,1795339800123456,'events','client','{"item_id":"item-1","products":[{"product_id":"item-1","quantity":2},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(15,'default','f02','Order Completed','u:ünï','ünï','a2',1795347000123456,1795339800123456,'events','client','{"item_id":"item-2","products":[{"product_id":"item-2","quantity":3},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(16,'default','f03','Product Viewed','u:u1','u1','a3',1795350600123456,1795339800123456,'events','client','{"item_id":"item-3","products":[{"product_id":"item-3","quantity":4},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(17,'default','f04','Page Viewed','a:a4',NULL,'a4',1795354200123456,1795339800123456,'events','client','{"item_id":"item-0","products":[{"product_id":"item-0","quantity":5},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(18,'default','f05','Order Completed','u:ünï','ünï','a0',1795357800123456,1795339800123456,'events','client','{"item_id":"item-1","products":[{"product_id":"item-1","quantity":6},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(19,'default','f06','Product Viewed','u:u1','u1','a1',1795361400123456,1795339800123456,'events','client','{"item_id":"item-2","products":[{"product_id":"item-2","quantity":7},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(20,'default','f07','Page Viewed','u:u2','u2','a2',1795365000123456,1795339800123456,'events','client','{"item_id":"item-3","products":[{"product_id":"item-3","quantity":8},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(21,'default','f08','Order Completed','a:a3',NULL,'a3',1795368600123456,1795339800123456,'events','client','{"item_id":"item-0","products":[{"product_id":"item-0","quantity":9},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(22,'default','f09','Product Viewed','u:u1','u1','a4',1795372200123456,1795339800123456,'events','client','{"item_id":"item-1","products":[{"product_id":"item-1","quantity":10},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(23,'default','f10','Page Viewed','u:u2','u2','a0',1795375800123456,1795339800123456,'events','client','{"item_id":"item-2","products":[{"product_id":"item-2","quantity":11},{"product_id":"item-9"}]}',NULL);
INSERT INTO "event" VALUES(24,'default','f11','Order Completed','u:ünï','ünï','a1',1795379400123456,1795339800123456,'events','client','{"item_id":"item-3","products":[{"product_id":"item-3","quantity":12},{"product_id":"item-9"}]}',NULL);
CREATE TABLE identity_link (
	tenant VARCHAR NOT NULL, 
	from_id VARCHAR NOT NULL, 
	user_id VARCHAR NOT NULL, 
	trust VARCHAR NOT NULL, 
	linked_us BIGINT NOT NULL, 
	PRIMARY KEY (tenant, from_id, user_id, trust)
)
 WITHOUT ROWID

;
INSERT INTO "identity_link" VALUES('default','a:a1','u1','client',1795167180000000);
INSERT INTO "identity_link" VALUES('default','a:a1','u2','server',1795339800123456);
INSERT INTO "identity_link" VALUES('default','a:a2','u1','client',1795167360000000);
INSERT INTO "identity_link" VALUES('default','a:a2','u2','client',1795167420000000);
INSERT INTO "identity_link" VALUES('default','a:a2','u2','server',1795167480000000);
CREATE TABLE interaction (
	tenant VARCHAR NOT NULL, 
	part BIGINT NOT NULL, 
	person_id VARCHAR NOT NULL, 
	occurred_us BIGINT NOT NULL, 
	event_id VARCHAR NOT NULL, 
	item_id VARCHAR NOT NULL, 
	event_type VARCHAR NOT NULL, 
	quantity FLOAT NOT NULL, 
	PRIMARY KEY (tenant, part, person_id, occurred_us, event_id, item_id)
)
 WITHOUT ROWID

;
INSERT INTO "interaction" VALUES('default',0,'a:a0',1795339800123456,'f00','item-0','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a0',1795357800123456,'f05','item-1','Order Completed',6.0);
INSERT INTO "interaction" VALUES('default',0,'a:a0',1795357800123456,'f05','item-9','Order Completed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a0',1795375800123456,'f10','item-2','Page Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a1',1795167060000000,'e01','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a1',1795167120000000,'e02','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a1',1795167300000000,'e05','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a1',1795343400123456,'f01','item-1','Page Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a1',1795361400123456,'f06','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a1',1795379400123456,'f11','item-3','Order Completed',12.0);
INSERT INTO "interaction" VALUES('default',0,'a:a1',1795379400123456,'f11','item-9','Order Completed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a2',1795167360000000,'e06','item-0','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a2',1795167420000000,'e07','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a2',1795167480000000,'e08','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a2',1795347000123456,'f02','item-2','Order Completed',3.0);
INSERT INTO "interaction" VALUES('default',0,'a:a2',1795347000123456,'f02','item-9','Order Completed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a2',1795365000123456,'f07','item-3','Page Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a3',1795350600123456,'f03','item-3','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a3',1795368600123456,'f08','item-0','Order Completed',9.0);
INSERT INTO "interaction" VALUES('default',0,'a:a3',1795368600123456,'f08','item-9','Order Completed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a4',1795354200123456,'f04','item-0','Page Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'a:a4',1795372200123456,'f09','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u1',1795167240000000,'e04','item-1','Order Completed',2.0);
INSERT INTO "interaction" VALUES('default',0,'u:u1',1795167300000000,'e05','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u1',1795167360000000,'e06','item-0','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u1',1795350600123456,'f03','item-3','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u1',1795361400123456,'f06','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u1',1795372200123456,'f09','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u2',1795167420000000,'e07','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u2',1795167480000000,'e08','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u2',1795343400123456,'f01','item-1','Page Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u2',1795365000123456,'f07','item-3','Page Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u2',1795375800123456,'f10','item-2','Page Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u3',1794907800000000,'e10','item-1','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:u3',1795167660000000,'e11','item-2','Product Viewed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:ünï',1795347000123456,'f02','item-2','Order Completed',3.0);
INSERT INTO "interaction" VALUES('default',0,'u:ünï',1795347000123456,'f02','item-9','Order Completed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:ünï',1795357800123456,'f05','item-1','Order Completed',6.0);
INSERT INTO "interaction" VALUES('default',0,'u:ünï',1795357800123456,'f05','item-9','Order Completed',1.0);
INSERT INTO "interaction" VALUES('default',0,'u:ünï',1795379400123456,'f11','item-3','Order Completed',12.0);
INSERT INTO "interaction" VALUES('default',0,'u:ünï',1795379400123456,'f11','item-9','Order Completed',1.0);
INSERT INTO "interaction" VALUES('default',1,'u:u1',1795567000000000,'e12','item-9','Order Completed',2.0);
CREATE TABLE item (
	tenant VARCHAR NOT NULL, 
	item_id VARCHAR NOT NULL, 
	fields TEXT NOT NULL, 
	categories TEXT NOT NULL, 
	active INTEGER NOT NULL, 
	PRIMARY KEY (tenant, item_id)
);
INSERT INTO "item" VALUES('default','item-1','{"title":"Tea"}','["tea"]',1);
CREATE TABLE kill_switch (
	tenant VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	killed INTEGER NOT NULL, 
	changed_by VARCHAR NOT NULL, 
	changed_us BIGINT NOT NULL, 
	PRIMARY KEY (tenant, "key")
);
INSERT INTO "kill_switch" VALUES('default','button',1,'maria',1795167000000000);
CREATE TABLE live_state (
	tenant VARCHAR NOT NULL, 
	version BIGINT NOT NULL, 
	revision INTEGER NOT NULL, 
	model VARCHAR NOT NULL, 
	model_since_us BIGINT, 
	killed TEXT NOT NULL, 
	PRIMARY KEY (tenant)
);
INSERT INTO "live_state" VALUES('default',4,1,'m1',1795167000000000,'["button"]');
CREATE TABLE person_activity (
	tenant VARCHAR NOT NULL, 
	part BIGINT NOT NULL, 
	person_id VARCHAR NOT NULL, 
	event_type VARCHAR NOT NULL, 
	n BIGINT NOT NULL, 
	first_us BIGINT NOT NULL, 
	last_us BIGINT NOT NULL, 
	PRIMARY KEY (tenant, part, person_id, event_type)
)
 WITHOUT ROWID

;
INSERT INTO "person_activity" VALUES('default',0,'a:a0','Order Completed',1,1795357800123456,1795357800123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a0','Page Viewed',1,1795375800123456,1795375800123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a0','Product Viewed',1,1795339800123456,1795339800123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a1','Order Completed',1,1795379400123456,1795379400123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a1','Page Viewed',1,1795343400123456,1795343400123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a1','Product Viewed',4,1795167060000000,1795361400123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a1','Signed In',1,1795167180000000,1795167180000000);
INSERT INTO "person_activity" VALUES('default',0,'a:a2','Order Completed',1,1795347000123456,1795347000123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a2','Page Viewed',1,1795365000123456,1795365000123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a2','Product Viewed',3,1795167360000000,1795167480000000);
INSERT INTO "person_activity" VALUES('default',0,'a:a3','Order Completed',1,1795368600123456,1795368600123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a3','Product Viewed',1,1795350600123456,1795350600123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a4','Page Viewed',1,1795354200123456,1795354200123456);
INSERT INTO "person_activity" VALUES('default',0,'a:a4','Product Viewed',1,1795372200123456,1795372200123456);
INSERT INTO "person_activity" VALUES('default',0,'a:o''brien','Product Viewed',1,1795167720000000,1795167720000000);
INSERT INTO "person_activity" VALUES('default',0,'a:ünï','Experiment Viewed',1,1795167540000000,1795167540000000);
INSERT INTO "person_activity" VALUES('default',0,'u:u1','Order Completed',1,1795167240000000,1795167240000000);
INSERT INTO "person_activity" VALUES('default',0,'u:u1','Product Viewed',5,1795167300000000,1795372200123456);
INSERT INTO "person_activity" VALUES('default',0,'u:u1','Signed In',1,1795167180000000,1795167180000000);
INSERT INTO "person_activity" VALUES('default',0,'u:u2','Page Viewed',3,1795343400123456,1795375800123456);
INSERT INTO "person_activity" VALUES('default',0,'u:u2','Product Viewed',2,1795167420000000,1795167480000000);
INSERT INTO "person_activity" VALUES('default',0,'u:u3','Product Viewed',2,1794907800000000,1795167660000000);
INSERT INTO "person_activity" VALUES('default',0,'u:ünï','Order Completed',3,1795347000123456,1795379400123456);
INSERT INTO "person_activity" VALUES('default',1,'u:u1','Order Completed',1,1795567000000000,1795567000000000);
CREATE TABLE quarantine (
	tenant VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	event_id VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	detail TEXT NOT NULL, 
	body TEXT NOT NULL, 
	experiment VARCHAR, 
	phase BIGINT, 
	person_id VARCHAR, 
	user_id VARCHAR, 
	anonymous_id VARCHAR, 
	unit_id VARCHAR, 
	received_us BIGINT NOT NULL, 
	source VARCHAR NOT NULL, 
	trust VARCHAR NOT NULL, encoding VARCHAR, canonical TEXT, context TEXT, 
	PRIMARY KEY (tenant, digest)
);
INSERT INTO "quarantine" VALUES('default','0cedbda36116ef00cfab000cff057f743535f6b40bfed6e42b8b47d2ffb8a2a9','bad1','invalid_event','type: missing','{"event_id":"bad1","user_id":"u1"}',NULL,NULL,'u:u1','u1',NULL,NULL,1795167000000000,'events','client',NULL,NULL,NULL);
INSERT INTO "quarantine" VALUES('default','cdaa9642d85f151e64cfe7f3ac3a6e775b368c9e227332ffd4bca6ae7026b103','bad2','variant_mismatch','control was assigned','{"type":"Experiment Viewed","event_id":"bad2","anonymous_id":"a9","properties":{"experiment_key":"button","phase":1}}','button',1,'a:a9',NULL,'a9',NULL,1795167000000000,'segment','client',NULL,NULL,NULL);
CREATE TABLE session (
	tenant VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	key_class VARCHAR NOT NULL, 
	expires_us BIGINT NOT NULL, 
	PRIMARY KEY (tenant, sha256)
);
INSERT INTO "session" VALUES('default','cc','ak',1795167000000000);
CREATE TABLE sign_in (
	tenant VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	key_class VARCHAR NOT NULL, 
	expires_us BIGINT NOT NULL, 
	used_us BIGINT, 
	PRIMARY KEY (tenant, sha256)
);
INSERT INTO "sign_in" VALUES('default','bb','rk',1795167000000000,NULL);
CREATE TABLE slate (
	tenant VARCHAR NOT NULL, 
	slate_id VARCHAR NOT NULL, 
	person_id VARCHAR NOT NULL, 
	placement VARCHAR NOT NULL, 
	recommender VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	items TEXT NOT NULL, 
	created_us BIGINT NOT NULL, 
	PRIMARY KEY (tenant, slate_id)
);
INSERT INTO "slate" VALUES('default','s1','u:u1','home','discovery','m1','model','["item-1"]',1795167000000000);
CREATE TABLE verdict_snapshot (
	tenant VARCHAR NOT NULL, 
	experiment VARCHAR NOT NULL, 
	phase INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	log_offset BIGINT NOT NULL, 
	as_of_us BIGINT NOT NULL, 
	computed_us BIGINT NOT NULL, 
	digest VARCHAR NOT NULL, 
	decision VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (tenant, experiment, phase, number)
);
INSERT INTO "verdict_snapshot" VALUES('default','button',1,1,1,12,1795167000000000,1795167000000000,'dd','keep_running','{"decision":"keep_running"}');
INSERT INTO "verdict_snapshot" VALUES('default','button',1,2,1,12,1795168000000000,1795168000000000,'ee','ship','{"decision":"ship","exposure":{"quarantined":{}}}');
CREATE INDEX quarantine_by_experiment ON quarantine (tenant, experiment, phase, reason);
CREATE INDEX quarantine_by_anonymous ON quarantine (tenant, anonymous_id);
CREATE INDEX quarantine_by_unit ON quarantine (tenant, unit_id);
CREATE INDEX quarantine_by_user ON quarantine (tenant, user_id);
CREATE INDEX slate_by_person ON slate (tenant, person_id);
CREATE INDEX slate_by_time ON slate (tenant, created_us);
CREATE INDEX quarantine_by_reason ON quarantine (tenant, reason, received_us, digest);
CREATE INDEX quarantine_by_time ON quarantine (tenant, received_us, digest);
CREATE INDEX identity_link_by_user ON identity_link (user_id, trust, tenant);
CREATE INDEX consent_by_person ON consent (tenant, person_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('event',24);
COMMIT;
